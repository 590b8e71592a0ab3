//! The flags that several commands have: those of the connection, and the format of tables. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Uri;
use rayfleet_cli_kit::input;

use crate::object_names;

/// Flags of every command.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Namespace; default: that of the kubeconfig's context
    #[arg(short, long, global = true, value_name = "NAMESPACE", value_parser = object_names::namespace)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Cluster of the kubeconfig; default: that of the context
    #[arg(long, global = true, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// User of the kubeconfig; default: that of the context
    #[arg(long, global = true, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Address of the API server; default: that of the cluster
    #[arg(long, global = true, value_name = "URL", value_parser = server)]
    pub(crate) server: Option<http::Uri>,
    /// Take any certificate of the API server: whoever is in between can read and change everything
    #[arg(long, global = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// User to act as; needs the right to impersonate
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub(crate) act_as: Option<String>,
    /// Group to act as, with --as; may be repeated
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) as_group: Vec<String>,
    /// Kubeconfig file; default: $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Read this file of support-bundle in place of a cluster
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) from: Option<PathBuf>,
    /// Time limit of one call to the API server, as 10s or 1m
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = input::wait)]
    pub(crate) request_timeout: Duration,
}

/// Format of a table that has more columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WideOutput {
    /// As JSON; with -w one document a line
    Json,
    /// As YAML; with -w one document after the other
    Yaml,
    /// The table with more columns
    Wide,
}

/// The address of an API server on a command line.
fn server(text: &str) -> Result<Uri, String> {
    let server = text.parse::<Uri>().ok();
    let server = server.filter(|server| matches!(server.scheme_str(), Some("https" | "http")));
    server.ok_or_else(|| "write it as https://HOST:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_scheme() {
        assert!(server("https://api:6443").is_ok() && server("http://127.0.0.1:8001/").is_ok());
        for text in ["api:6443", "127.0.0.1", "ftp://api", "https://", ""] {
            assert!(server(text).is_err(), "{text}");
        }
    }
}
