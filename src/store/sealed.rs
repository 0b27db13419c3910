//! Small JSON files that show by themselves whether they are whole: the last field is the digest of all that comes
//! before it. It does not know what they say.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Digest;

const LEAD: &str = ",\n  \"checksum\": \"";
const END: &str = "\"\n}\n";

/// The text of a value, with its checksum.
pub(super) fn seal(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("what the store keeps has only text keys");
    assert_eq!(text.pop(), Some(b'}'), "only an object with fields can be sealed");
    while text.last().is_some_and(u8::is_ascii_whitespace) {
        text.pop();
    }
    let tail = tail(&text);
    text.extend_from_slice(tail.as_bytes());
    text
}

/// The value of a sealed text; `None` if any byte of it is not what it was, or it says something else.
pub(super) fn open<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let length = text.len().checked_sub(LEAD.len() + 64 + END.len())?;
    let (body, rest) = text.split_at(length);
    is_tail(rest, body).then(|| serde_json::from_slice(text).ok())?
}

/// The value of a sealed file; `None` if it is not there or not what it was.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut file = File::open(path).ok()?;
    // Most fit in here: one call reads them, and the checksum tells whether they are whole.
    let mut start = [0; 4 << 10];
    let length = file.read(&mut start).ok()?;
    if length < start.len() {
        return open(&start[..length]);
    }
    let mut text = start.to_vec();
    file.read_to_end(&mut text).ok()?;
    open(&text)
}

fn tail(body: &[u8]) -> String {
    format!("{LEAD}{}{END}", Digest::of(body))
}

/// Whether a text is the tail of a body.
fn is_tail(text: &[u8], body: &[u8]) -> bool {
    let digits = || text.strip_prefix(LEAD.as_bytes())?.strip_suffix(END.as_bytes());
    digits().is_some_and(|digits| digits == Digest::of(body).digits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_plain_json_and_read_again() {
        let text = seal(&serde_json::json!({"a": 1, "b": {"checksum": "inner"}}));
        let value: serde_json::Value = open(&text).expect("whole");
        assert_eq!(value["b"]["checksum"], "inner");
        let plain: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(plain, value);
    }

    #[test]
    fn any_changed_byte_and_any_other_length_are_noticed() {
        let text = seal(&serde_json::json!({"a": 1}));
        for at in 0..text.len() {
            for flip in [1, 0x20, 0x80] {
                let mut damaged = text.clone();
                damaged[at] ^= flip;
                assert_eq!(open::<serde_json::Value>(&damaged), None, "byte {at}");
            }
            assert_eq!(open::<serde_json::Value>(&text[..at]), None, "length {at}");
        }
        assert_eq!(open::<serde_json::Value>(&[text.as_slice(), b"\n"].concat()), None);
    }
}
