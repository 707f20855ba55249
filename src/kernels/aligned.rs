//! Memory that begins on a cache line.

/// Bytes in 64-byte lines, all zero at first.
#[derive(Debug, Clone)]
pub(super) struct Aligned {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Aligned {
    /// At least this many bytes.
    pub(super) fn zeroed(bytes: usize) -> Self {
        Self { lines: vec![Line([0; 64]); bytes.div_ceil(64)] }
    }

    /// Makes sure that there are this many bytes; what was there is kept.
    pub(super) fn grow(&mut self, bytes: usize) {
        if self.bytes() < bytes {
            self.lines.resize(bytes.div_ceil(64), Line([0; 64]));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * 64
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.lines.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: a line is 64 plain bytes, and lines lie one after the other.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.bytes()) }
    }

    /// The memory as fp32 numbers.
    pub(super) fn as_floats(&mut self) -> &mut [f32] {
        // SAFETY: as above; the alignment of a line is more than that of an f32, and any bits are one.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), self.bytes() / 4) }
    }

    /// The memory as integers of 16 bits.
    pub(super) fn as_i16(&mut self) -> &mut [i16] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), self.bytes() / 2) }
    }
}
