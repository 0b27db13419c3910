//! Transposes planes of bytes, in blocks of 8 by 8 that stay in registers. It turns the column-major planes of
//! STL-10 into rows, and lets filters that work on whole rows work on columns.

/// Side of a block: so many bytes fill one `u64`.
const BLOCK: usize = 8;

/// How many neighbouring blocks are transposed at a time, so that the compiler can use vectors.
const TOGETHER: usize = 4;

/// Writes column `x` of `from` as row `x` of `to`, for `rows` rows that stand `stride` bytes apart in `from`.
///
/// # Panics
/// If `from` is too short, or `to` is not exactly as large as the result.
pub fn transpose(from: &[u8], stride: usize, rows: usize, columns: usize, to: &mut [u8]) {
    assert_eq!(to.len(), rows * columns, "the result has {columns} rows of {rows}");
    let (whole_rows, whole_columns) = (rows - rows % BLOCK, columns - columns % BLOCK);
    for y in (0..whole_rows).step_by(BLOCK) {
        let many = whole_columns - whole_columns % (BLOCK * TOGETHER);
        for x in (0..many).step_by(BLOCK * TOGETHER) {
            move_blocks::<TOGETHER>(&from[y * stride + x..], stride, rows, &mut to[x * rows + y..]);
        }
        for x in (many..whole_columns).step_by(BLOCK) {
            move_blocks::<1>(&from[y * stride + x..], stride, rows, &mut to[x * rows + y..]);
        }
        for x in whole_columns..columns {
            for i in 0..BLOCK {
                to[x * rows + y + i] = from[(y + i) * stride + x];
            }
        }
    }
    for y in whole_rows..rows {
        for x in 0..columns {
            to[x * rows + y] = from[y * stride + x];
        }
    }
}

/// Transposes neighbouring blocks whose rows stand `stride` bytes apart in `from` and `rows` bytes apart in `to`.
fn move_blocks<const N: usize>(from: &[u8], stride: usize, rows: usize, to: &mut [u8]) {
    let mut blocks = [[0; N]; BLOCK];
    for (row, from) in blocks.iter_mut().zip(from.chunks(stride)) {
        for (row, bytes) in row.iter_mut().zip(from.as_chunks().0) {
            *row = u64::from_le_bytes(*bytes);
        }
    }
    transpose_blocks(&mut blocks);
    for (i, row) in blocks.iter().enumerate() {
        for (n, row) in row.iter().enumerate() {
            to[(n * BLOCK + i) * rows..][..BLOCK].copy_from_slice(&row.to_le_bytes());
        }
    }
}

/// Exchanges the off-diagonal quarters of blocks of 2, then 4, then 8 bytes (Warren, "Hacker's Delight", 7-3).
#[inline(always)]
fn transpose_blocks<const N: usize>(rows: &mut [[u64; N]; BLOCK]) {
    const STEPS: [(usize, u64); 3] =
        [(1, 0x00FF_00FF_00FF_00FF), (2, 0x0000_FFFF_0000_FFFF), (4, 0x0000_0000_FFFF_FFFF)];
    for (distance, mask) in STEPS {
        let bits = 8 * distance as u32;
        for i in (0..BLOCK).filter(|i| i & distance == 0) {
            let (upper, lower) = rows.split_at_mut(i + distance);
            for (upper, lower) in upper[i].iter_mut().zip(&mut lower[0]) {
                let exchanged = (*upper >> bits ^ *lower) & mask;
                *upper ^= exchanged << bits;
                *lower ^= exchanged;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows_at_every_size() {
        for rows in [1, 7, 8, 9, 16, 23] {
            for columns in [1, 5, 8, 15, 17, 24] {
                let stride = columns + 3;
                let from: Vec<u8> = (0..rows * stride).map(|i| (i * 31 % 251) as u8).collect();
                let mut to = vec![0; rows * columns];
                transpose(&from, stride, rows, columns, &mut to);
                for y in 0..rows {
                    for x in 0..columns {
                        assert_eq!(to[x * rows + y], from[y * stride + x], "{rows}x{columns} at {y}, {x}");
                    }
                }
            }
        }
    }
}
