//! The flags of `support-bundle`. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rayfleet_cli_kit::input;

use crate::object_names;

/// What `-o` means elsewhere.
const FORMATS: [&str; 9] =
    ["json", "yaml", "wide", "name", "text", "jsonpath", "jsonpath-as-json", "go-template", "custom-columns"];

/// Flags of `support-bundle`.
#[derive(Args, Debug)]
#[command(
    after_help = "Writes a zip with fleets, their RayClusters, pods, nodes, Services, events and revisions, the \
deployments, pods and logs of the orchestrator and of KubeRay, what Ray's dashboards and the engines' \
metrics say, and the logs of engines, ranks and pods. manifest.json in it lists what was cut and what \
could not be read. Changes nothing.

Secrets and ConfigMaps are not read. Hidden are values of variables and fields that are named like \
secrets, --api-key, Authorization headers, passwords in URLs and tokens of known forms. Names of \
objects, nodes and images, addresses, and whatever engines and events say stay: read it before you \
send it to somebody.

Every command that reads takes the file in place of the cluster: --from FILE.

Exit code: 0 done, 1 it was written but something could not be read, or nothing was written, \
2 the command line cannot be used.

Examples:
  kubectl rayfleet support-bundle llama                  # one fleet
  kubectl rayfleet support-bundle                        # every fleet of the current namespace
  kubectl rayfleet support-bundle -A --since 2h          # of the cluster, logs of two hours
  kubectl rayfleet support-bundle llama -o llama.zip
  kubectl rayfleet support-bundle llama -o - | ssh host 'cat > llama.zip'
  kubectl rayfleet diagnose llama --from llama.zip       # reads it back"
)]
pub(crate) struct BundleArgs {
    /// Fleet; without it every fleet of the namespace
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: Option<String>,
    /// Fleets of all namespaces
    #[arg(short = 'A', long, conflicts_with = "fleet")]
    pub(crate) all_namespaces: bool,
    /// Only log lines of the last while, as 2h; default: as far as logs go
    #[arg(long, value_name = "DURATION", value_parser = input::wait)]
    pub(crate) since: Option<Duration>,
    /// Most bytes of logs and metrics in all, before they are compressed
    #[arg(long, value_name = "SIZE", default_value = "200Mi", value_parser = size)]
    pub(crate) max_size: u64,
    /// Most bytes of one log; of a longer one the newest lines are kept
    #[arg(long, value_name = "SIZE", default_value = "4Mi", value_parser = size)]
    pub(crate) max_log_size: u64,
    /// File to write; - is standard output; default: rayfleet-NAME-TIME.zip
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, value_parser = file)]
    pub(crate) output: Option<PathBuf>,
}

/// A file; a format of other commands is none.
fn file(text: &str) -> Result<PathBuf, String> {
    let format = text.split_once('=').map_or(text, |(format, _)| format);
    if FORMATS.contains(&format) {
        return Err(format!(
            "a bundle is a zip, and -o is its file: -o llama.zip (or ./{format}); fleets as text or JSON: kubectl rayfleet status -o json"
        ));
    }
    Ok(text.into())
}

/// A number of bytes: `500Ki`, `200Mi`, `1Gi`.
fn size(text: &str) -> Result<u64, String> {
    let odd = || "write it as 500Ki, 200Mi or 1Gi, up to 2Gi".to_owned();
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let factor = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "Ki" | "k" | "K" => 1 << 10,
        "Mi" | "M" => 1 << 20,
        "Gi" | "G" => 1 << 30,
        _ => return Err(odd()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| (1..=2 << 30).contains(bytes)).ok_or_else(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_no_file() {
        for format in ["json", "yaml", "wide", "name", "text", "jsonpath", "jsonpath={.items}"] {
            assert!(file(format).unwrap_err().contains("-o llama.zip"), "{format}");
        }
        for name in ["llama.zip", "./json", "json.zip", "-", "a=b"] {
            assert_eq!(file(name), Ok(PathBuf::from(name)));
        }
    }

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        for (text, bytes) in [("10", 10), ("500Ki", 500 << 10), ("200Mi", 200 << 20), ("1Gi", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for odd in ["", "0", "Mi", "1Ti", "-1Mi", "3Gi", "99999999999999999999"] {
            assert!(size(odd).is_err(), "{odd}");
        }
    }
}
