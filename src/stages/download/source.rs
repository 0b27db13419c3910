//! What `url:` may say: a web address, a `file:` address or a plain path. It opens nothing.

use std::path::PathBuf;

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file on a web server.
    Web(String),
    /// A file on this machine; a relative path counts from the working directory.
    Local(PathBuf),
}

/// Why a text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing to fetch.
    #[error("the address is empty")]
    Empty,
    /// A scheme that nothing here can fetch.
    #[error("addresses starting with `{0}:` cannot be fetched; use http, https, file or a plain path")]
    Scheme(String),
    /// A web address that is none.
    #[error("not a web address: {0}")]
    Web(String),
    /// A `file:` address that names another machine.
    #[error("`file:` addresses name files on this machine, not on `{0}`; write file:///path")]
    Host(String),
    /// A `%` that no two hexadecimal digits follow.
    #[error("`%` must be followed by two hexadecimal digits")]
    Percent,
}

impl Source {
    /// Reads what `url:` says.
    ///
    /// # Errors
    /// If it is neither a web address, nor a `file:` address, nor a path.
    pub fn parse(text: &str) -> Result<Source, SourceError> {
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Source::Local(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => match text.parse::<ureq::http::Uri>() {
                Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => {
                    Ok(Source::Web(text.to_string()))
                }
                Ok(_) => Err(SourceError::Web("it names no host".to_string())),
                Err(error) => Err(SourceError::Web(error.to_string())),
            },
            "file" => local(rest),
            other => Err(SourceError::Scheme(other.to_string())),
        }
    }

    /// The name under which people would expect to find the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let path = match self {
            Source::Web(url) => {
                let end = url.find(['?', '#']).unwrap_or(url.len());
                let path = &url[..end];
                path.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, p)| p)
            }
            Source::Local(path) => {
                return path.file_name().map_or_else(default_name, |n| n.display().to_string());
            }
        };
        match path.rsplit('/').next() {
            Some(name) if is_plain(name) => name.to_string(),
            _ => default_name(),
        }
    }
}

fn default_name() -> String {
    "file".to_string()
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
}

/// A scheme has two letters or more, so that a path such as `a:b` stays one.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// What follows `file:`: `///path`, `//localhost/path`, `/path` or `path` (RFC 8089).
fn local(rest: &str) -> Result<Source, SourceError> {
    let path = match rest.strip_prefix("//") {
        Some(authority) => match authority.split_once('/') {
            Some(("" | "localhost", _)) => &authority[authority.find('/').unwrap_or(0)..],
            Some((host, _)) => return Err(SourceError::Host(host.to_string())),
            None => return Err(SourceError::Host(authority.to_string())),
        },
        None => rest,
    };
    let path = percent_decoded(path)?;
    if path.is_empty() { Err(SourceError::Empty) } else { Ok(Source::Local(PathBuf::from(path))) }
}

fn percent_decoded(text: &str) -> Result<String, SourceError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits =
                tail.get(..2).and_then(|d| std::str::from_utf8(d).ok()).ok_or(SourceError::Percent)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| SourceError::Percent)?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| SourceError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_file_and_plain_addresses_are_told_apart() {
        assert_eq!(Source::parse("https://a.org/x.tar.gz"), Ok(Source::Web("https://a.org/x.tar.gz".into())));
        for (text, path) in [
            ("data/x.tar.gz", "data/x.tar.gz"),
            ("/data/x", "/data/x"),
            ("./a:b", "./a:b"),
            ("file:///data/a%20b", "/data/a b"),
            ("file://localhost/data/x", "/data/x"),
            ("file:/data/x", "/data/x"),
            ("file:data/x", "data/x"),
        ] {
            assert_eq!(Source::parse(text), Ok(Source::Local(path.into())), "{text}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_fetched_are_refused() {
        assert_eq!(Source::parse(""), Err(SourceError::Empty));
        assert_eq!(Source::parse("s3://bucket/x"), Err(SourceError::Scheme("s3".into())));
        assert_eq!(Source::parse("file://other/x"), Err(SourceError::Host("other".into())));
        assert_eq!(Source::parse("file:///a%2"), Err(SourceError::Percent));
        assert!(matches!(Source::parse("http://"), Err(SourceError::Web(_))));
        assert!(matches!(Source::parse("http://a b/"), Err(SourceError::Web(_))));
    }

    #[test]
    fn the_file_is_named_after_the_last_segment() {
        for (text, name) in [
            ("http://a.org/d/stl10_binary.tar.gz?x=1", "stl10_binary.tar.gz"),
            ("http://a.org/", "file"),
            ("http://a.org", "file"),
            ("http://a.org/..", "file"),
            ("data/stl10.tar.gz", "stl10.tar.gz"),
        ] {
            assert_eq!(Source::parse(text).map(|s| s.file_name()), Ok(name.into()), "{text}");
        }
    }
}
