//! Memory that begins on a cache line.

use memmap2::MmapMut;

/// Bytes in 64-byte lines, all zero at first.
#[derive(Debug)]
pub(super) struct Aligned {
    lines: Vec<Line>,
}

/// Bytes that stay for as long as a model does, all zero at first.
///
/// They are pages from the system and not the allocator's: packing a layer also takes memory for a moment, and the allocator
/// would keep the holes that this leaves between the packed layers.
#[derive(Debug)]
pub(super) enum Lasting {
    Pages(MmapMut),
    Lines(Aligned),
}

/// Fewer bytes are not worth pages of their own.
const FEWEST_IN_PAGES: usize = 1 << 15;

impl Lasting {
    pub(super) fn zeroed(bytes: usize) -> Self {
        let pages = if bytes < FEWEST_IN_PAGES { None } else { MmapMut::map_anon(bytes).ok() };
        // Where the system gives no pages, the allocator may have some, or ends the program as it does everywhere.
        pages.map_or_else(|| Self::Lines(Aligned::zeroed(bytes)), Self::Pages)
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        match self {
            Self::Pages(pages) => pages.as_ptr(),
            Self::Lines(lines) => lines.as_ptr(),
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Lines(lines) => lines.as_mut_slice(),
        }
    }
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
