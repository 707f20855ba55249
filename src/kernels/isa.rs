//! Which instructions the processor has.

use std::sync::OnceLock;

/// The instruction sets that there are kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Plain Rust, on any processor.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX2 and FMA with integer dot products (AVX-VNNI): Intel's processors without AVX-512, from Alder Lake on.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 (F, BW, DQ, VL): Intel's server processors before Cascade Lake.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with its integer dot products (VNNI).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// What every 64-bit ARM has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The same with dot products of bytes: Apple's processors, and others since about 2018.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Isa {
    /// The best one of this processor.
    pub(crate) fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| *Self::available().last().unwrap_or(&Isa::Portable))
    }

    /// All that this processor has, the best one last.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(unused_mut))]
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
            }
            if found.contains(&Isa::Avx2) && is_x86_feature_detected!("avxvnni") {
                found.push(Isa::AvxVnni);
            }
            if found.contains(&Isa::Avx2)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Isa::Avx512);
            }
            if found.contains(&Isa::Avx512) && is_x86_feature_detected!("avx512vnni") {
                found.push(Isa::Avx512Vnni);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            found.push(Isa::Neon);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                found.push(Isa::NeonDot);
            }
        }
        found
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Isa::Portable => "plain Rust",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "NEON",
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => "NEON with dot products",
        }
    }

    /// The bits of the widest integers whose products are faster than those of fp32; 0 where none are.
    #[cfg(feature = "bundled-models")]
    pub(crate) fn fast_integers(self) -> u32 {
        match self {
            Isa::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Vnni => 16,
            // An instruction has as many products in 16 bits as in fp32.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => 0,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => 8,
        }
    }

    /// Whether it has exact products of bytes. Those of AVX2 and AVX-512 without VNNI add pairs of them in 16 bits, which are
    /// too few.
    pub(super) fn multiplies_bytes(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => false,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni | Isa::Avx512Vnni => true,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => false,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => true,
        }
    }

    /// What is subtracted from a row's bytes, which count from 0 to 255, before they are multiplied.
    pub(super) fn subtracts(self) -> u8 {
        match self {
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => 128,
            _ => 0,
        }
    }

    /// Columns that a kernel computes at once.
    pub(super) fn panel(self) -> usize {
        match self {
            Isa::Portable => 16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => 16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Vnni => 32,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => 8,
        }
    }

    /// The most rows that a kernel computes at once: as many as registers hold.
    pub(super) fn rows(self) -> usize {
        match self {
            Isa::Portable => 4,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => 6,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Vnni => 12,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => 8,
        }
    }
}
