//! Parquet files: what is read and written of them, and of damaged ones.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

type Rows = Vec<(Option<String>, i64)>;

fn file(rows: &Rows, group: usize, compression: Compression) -> NamedTempFile {
    let texts: ArrayRef = Arc::new(rows.iter().map(|(text, _)| text.as_deref()).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|(_, number)| *number).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter_with_nullable([("text", texts, true), ("n", numbers, false)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_compression(compression)
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(3)
        .build();
    let file = NamedTempFile::new().unwrap();
    let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

fn open(file: &NamedTempFile) -> Result<ParquetTable, Failure> {
    ParquetTable::open(file.path().to_str().unwrap(), Arc::default())
}

fn wanted() -> [Wanted; 2] {
    [("n", true), ("text", false)].map(|(name, numbers)| Wanted {
        name: name.to_owned(),
        option: "--text-column",
        numbers,
    })
}

fn read(table: ParquetTable, groups: impl Fn(u64) -> bool + Send + 'static) -> Result<Vec<Block>, Failure> {
    table.blocks(&wanted(), groups)?.collect()
}

fn rows_of(blocks: &[Block]) -> Rows {
    let row = |row: &Row| match &row.cells.as_ref().unwrap()[..] {
        [Cell::Number(number), Cell::Text(text)] => (Some(text.clone()), number.as_i64().unwrap()),
        [Cell::Number(number), Cell::Null] => (None, number.as_i64().unwrap()),
        other => panic!("{other:?}"),
    };
    blocks.iter().flat_map(|block| &block.rows).map(row).collect()
}

fn rows(n: usize) -> Rows {
    (0..n).map(|n| ((n % 5 != 0).then(|| format!("text {n} {}", "word ".repeat(n % 11))), n as i64)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_widened_table_has_all_that_was_there(
        rows in proptest::collection::vec((proptest::option::of("[a-z\u{e9} ]{0,9}"), any::<i64>()), 0..700),
        group in 1usize..400,
        shard in 0u64..3,
    ) {
        let source = file(&rows, group, Compression::SNAPPY);
        let groups = move |number: u64| shard == 2 || number % 2 == shard;
        let of_shard = |index: usize| groups((index / group) as u64);
        let expected: Rows = rows.iter().enumerate().filter(|(n, _)| of_shard(*n)).map(|(_, row)| row.clone()).collect();
        let blocks = read(open(&source).unwrap(), groups).unwrap();
        prop_assert_eq!(rows_of(&blocks), expected.clone());
        for block in &blocks {
            prop_assert!(block.rows.len() <= ROWS);
            prop_assert_eq!(block.group, Some((block.first - 1) / group as u64));
        }
        prop_assert_eq!(open(&source).unwrap().blocks_of(groups), blocks.len() as u64);

        let scores: Vec<Option<f32>> = (0..expected.len()).map(|n| (n % 3 != 0).then_some(n as f32 / 7.0)).collect();
        let bytes: Vec<u8> = scores.iter().flat_map(|score| score.unwrap_or(f32::NAN).to_le_bytes()).collect();
        let table = open(&source).unwrap();
        table.check_rows(groups, bytes.len() as u64).unwrap();
        prop_assert!(table.check_rows(groups, bytes.len() as u64 + 4).is_err());
        let mut widened = NamedTempFile::new().unwrap();
        widen(&table, "score", groups, &mut &bytes[..], widened.as_file_mut()).unwrap();
        let mut again = Vec::new();
        widen(&table, "score", groups, &mut &bytes[..], &mut again).unwrap();
        prop_assert!(fs::read(widened.path()).unwrap() == again, "the same bytes each time");

        prop_assert_eq!(rows_of(&read(open(&widened).unwrap(), |_| true).unwrap()), expected);
        let batches = ParquetRecordBatchReaderBuilder::try_new(widened.reopen().unwrap()).unwrap().build().unwrap();
        let found: Vec<Option<f32>> = batches
            .flat_map(|batch| {
                let batch = batch.unwrap();
                let column = batch.column_by_name("score").unwrap();
                column.as_any().downcast_ref::<Float32Array>().unwrap().iter().collect::<Vec<_>>()
            })
            .collect();
        prop_assert_eq!(found, scores);
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        place in 0.0..1.0f64,
        bytes in proptest::collection::vec(any::<u8>(), 1..4),
        cut in proptest::option::of(0.0..1.0f64),
        tail in any::<bool>(),
    ) {
        let rows = rows(60);
        let source = file(&rows, 25, Compression::ZSTD(ZstdLevel::default()));
        let mut whole = fs::read(source.path()).unwrap();
        // The metadata, at the end, are where most damage is found.
        let (start, span) = if tail { (whole.len() / 2, whole.len() / 2) } else { (0, whole.len()) };
        let place = start + (place * (span - bytes.len()) as f64) as usize;
        whole[place..place + bytes.len()].copy_from_slice(&bytes);
        if let Some(cut) = cut {
            whole.truncate((cut * whole.len() as f64) as usize);
        }
        let mut damaged = NamedTempFile::new().unwrap();
        damaged.write_all(&whole).unwrap();
        let Ok(table) = open(&damaged) else { return Ok(()) };
        let again = table.reopen().unwrap();
        if let Ok(blocks) = read(table, |_| true) {
            let scores = vec![0; 4 * blocks.iter().map(|block| block.rows.len()).sum::<usize>()];
            let _ = again.check_rows(|_| true, scores.len() as u64);
            let _ = widen(&again, "score", |_| true, &mut &scores[..], &mut Vec::new());
        }
    }
}

#[test]
fn any_beginning_of_a_file_is_refused() {
    let source = fs::read(file(&rows(30), 20, Compression::UNCOMPRESSED).path()).unwrap();
    for length in 0..source.len() {
        let mut cut = NamedTempFile::new().unwrap();
        cut.write_all(&source[..length]).unwrap();
        let failure = open(&cut).err().unwrap_or_else(|| panic!("{length} bytes"));
        assert!(failure.to_string().contains("as a Parquet file"), "{failure}");
    }
}

#[test]
fn the_end_of_a_disk_is_told_from_a_damaged_file() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let source = file(&rows(30), 20, Compression::SNAPPY);
    let failure = widen(&open(&source).unwrap(), "score", |_| true, &mut &[0; 120][..], &mut Full).unwrap_err();
    assert!(matches!(failure, Failure::Output(_)), "{failure}");
}
