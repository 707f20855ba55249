//! What the kernels of all processors are written with: their sums are in registers only where rows are counted when they
//! are compiled.

/// Writes `$body` out for each row. A loop, where the compiler leaves it one, keeps the sums in memory.
macro_rules! unrolled {
    ($rows:ident, $row:ident, $body:block) => {
        unrolled!(@ $rows, $row, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $rows:ident, $row:ident, $body:block, $($number:literal)*) => {
        $(if $rows > $number {
            let $row: usize = $number;
            $body
        })*
    };
}

/// Calls a kernel with the number of rows as a constant, which keeps its sums in registers.
macro_rules! with_rows {
    ($rows:expr, $kernel:ident, $tile:expr, $($n:literal)*) => {
        match $rows {
            $($n => $kernel::<$n>($tile),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
