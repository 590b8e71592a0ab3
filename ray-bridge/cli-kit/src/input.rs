//! What a command line names: files and lengths of time.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

/// The text of a file of at most so many bytes; `-` is standard input. A larger file is an error, and no more of it is read.
pub fn read(file: &Path, most_bytes: u64) -> io::Result<String> {
    String::from_utf8(bytes(file, most_bytes)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// As [`read`], of a file that may be anything.
pub fn bytes(file: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(stdin())
    } else {
        // A named pipe would be waited for without end; what a shell hands over (`<(command)`) has its writer.
        let handed_over = file.starts_with("/dev/fd") || file == Path::new("/dev/stdin");
        if !handed_over && !std::fs::metadata(file)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Box::new(File::open(file)?)
    };
    let mut bytes = Vec::new();
    let length = source.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > most_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {most_bytes} bytes"),
        ));
    }
    Ok(bytes)
}

/// A duration: `90s`, `1h30m`, or whole seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    let parsed = seconds.or_else(|| text.parse::<SignedDuration>().ok()?.try_into().ok());
    parsed.ok_or_else(|| "write it as 90s, 10m or 1h30m".to_owned())
}

/// A duration above zero.
pub fn wait(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be above 0: every wait has a limit".to_owned()),
        wait => Ok(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_units_or_is_in_seconds() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("1h30m", 5_400), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        for text in ["", "soon", "-5s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let file = std::env::temp_dir().join(format!("rayfleet-input-{}", std::process::id()));
        std::fs::write(&file, "four").unwrap();
        let (whole, larger) = (read(&file, 4), read(&file, 3));
        std::fs::write(&file, b"\xff").unwrap();
        let binary = read(&file, 4);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(whole.unwrap(), "four");
        assert_eq!(larger.unwrap_err().to_string(), "it has more than 3 bytes");
        assert_eq!(binary.unwrap_err().to_string(), "it is not UTF-8 text");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = std::env::temp_dir();
        let pipe = directory.join(format!("rayfleet-pipe-{}", std::process::id()));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let read = [&pipe, &directory].map(|path| bytes(path, 4).unwrap_err().to_string());
        std::fs::remove_file(&pipe).unwrap();
        assert_eq!(read, ["it is no regular file"; 2]);
    }

    #[test]
    fn a_wait_is_above_zero() {
        assert_eq!(wait("1s"), Ok(Duration::from_secs(1)));
        assert!(wait("0").is_err() && wait("0m").is_err());
    }
}
