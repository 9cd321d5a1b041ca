//! Lines of a byte stream, bounded in length.

use std::io::{self, BufRead, Read};

/// Longest line that is kept; a longer one is told by its beginning only.
pub const LONGEST_LINE_BYTES: usize = 64 << 20;

/// How much of an over-long line is kept.
const BEGINNING_BYTES: usize = 4096;

/// What [`next_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line, in the buffer, without its `\n`.
    Whole,
    /// A line of this many bytes, more than allowed; the buffer holds its beginning.
    TooLong(u64),
    /// There are no more.
    End,
}

/// Reads the next line into `buffer`, holding at most `longest` bytes of it.
pub(super) fn next_line(
    input: &mut impl BufRead,
    longest: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<Line> {
    buffer.clear();
    // A line that was very long does not keep its memory.
    buffer.shrink_to(1 << 20);
    let mut length = 0u64;
    let mut ended = false;
    while !ended {
        let piece = match input.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if piece.is_empty() {
            if length == 0 {
                return Ok(Line::End);
            }
            break;
        }
        let newline = piece.iter().position(|byte| *byte == b'\n');
        let text = &piece[..newline.unwrap_or(piece.len())];
        length += text.len() as u64;
        if length <= longest as u64 {
            buffer.extend_from_slice(text);
        } else {
            let room = BEGINNING_BYTES.saturating_sub(buffer.len());
            buffer.extend_from_slice(&text[..room.min(text.len())]);
            buffer.truncate(BEGINNING_BYTES);
        }
        ended = newline.is_some();
        let taken = text.len() + usize::from(ended);
        input.consume(taken);
    }
    if length > longest as u64 {
        Ok(Line::TooLong(length))
    } else {
        Ok(Line::Whole)
    }
}

/// How many lines hold more than white space, in one pass of constant memory.
pub(super) fn count_filled(mut input: impl Read) -> io::Result<u64> {
    let mut piece = vec![0u8; 1 << 18];
    let mut filled = 0;
    let mut blank = true;
    loop {
        let read = match input.read(&mut piece) {
            Ok(0) => return Ok(filled),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &piece[..read];
        while !rest.is_empty() {
            let newline = rest.iter().position(|byte| *byte == b'\n');
            let text = &rest[..newline.unwrap_or(rest.len())];
            if blank && !text.trim_ascii().is_empty() {
                blank = false;
                filled += 1;
            }
            match newline {
                Some(at) => {
                    blank = true;
                    rest = &rest[at + 1..];
                }
                None => break,
            }
        }
    }
}

/// The byte order mark that some programs put before UTF-8 text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(bytes: &[u8], longest: usize, piece: usize) -> Vec<(Line, Vec<u8>)> {
        let mut input = BufReader::with_capacity(piece, bytes);
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            match next_line(&mut input, longest, &mut buffer).unwrap() {
                Line::End => return found,
                line => found.push((line, buffer.clone())),
            }
        }
    }

    #[test]
    fn lines_are_whole_whatever_the_pieces() {
        for piece in [1, 2, 3, 64] {
            let found = lines(b"ab\n\ncde\r\nf", 10, piece);
            let texts: Vec<&[u8]> = found.iter().map(|(_, text)| text.as_slice()).collect();
            assert_eq!(texts, [b"ab".as_slice(), b"", b"cde\r", b"f"]);
            assert!(found.iter().all(|(line, _)| *line == Line::Whole));
        }
    }

    #[test]
    fn a_long_line_is_bounded_and_the_next_one_is_whole() {
        for piece in [1, 7, 64] {
            let found = lines(b"0123456789\nab\n", 4, piece);
            assert_eq!(found[0].0, Line::TooLong(10));
            assert!(found[0].1.len() <= 10 && b"0123456789".starts_with(&found[0].1));
            assert!(found[0].1.len() >= 4);
            assert_eq!(found[1], (Line::Whole, b"ab".to_vec()));
        }
        let long = vec![b'x'; 3 << 20];
        let found = lines(&long, 1 << 20, 1 << 16);
        assert_eq!(found[0].0, Line::TooLong(3 << 20));
        assert_eq!(found[0].1.len(), BEGINNING_BYTES);
    }

    #[test]
    fn filled_lines_are_counted() {
        assert_eq!(count_filled(b"".as_slice()).unwrap(), 0);
        assert_eq!(count_filled(b"\n \r\n\t\n".as_slice()).unwrap(), 0);
        assert_eq!(count_filled(b"{}\n\n  {}  \nx".as_slice()).unwrap(), 3);
    }
}
