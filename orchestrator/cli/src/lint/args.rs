//! Flags of `lint` and `migrate`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rayfleet_cli_kit::Format;
use rayfleet_lint::Severity;

/// Flags of `lint`.
#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Manifests, as YAML or JSON; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "filename")]
    pub(crate) files: Vec<PathBuf>,
    /// The same, as for plan and apply
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// The least severity for exit code 1
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "error")]
    pub(crate) fail_on: FailOn,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: LintOutput,
}

impl LintArgs {
    /// All files.
    pub(crate) fn all(&self) -> Vec<&Path> {
        self.files.iter().chain(&self.filename).map(PathBuf::as_path).collect()
    }
}

/// From which severity on a lint fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// What does not work
    Error,
    /// Also what bites at some time
    Warning,
    /// Anything that is found
    Note,
    /// Nothing that is found
    Never,
}

impl FailOn {
    pub(crate) fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Note => Some(Severity::Note),
            Self::Never => None,
        }
    }
}

/// Format of `lint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintOutput {
    /// Two lines for each finding
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// SARIF 2.1.0, for code hosts
    Sarif,
}

impl LintOutput {
    /// How documents are written.
    pub(crate) fn format(self) -> Format {
        match self {
            Self::Text => Format::Text,
            Self::Json | Self::Sarif => Format::Json,
            Self::Yaml => Format::Yaml,
        }
    }
}

/// Flags of `migrate`.
#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    /// Manifest of fleets of AIBrix or of LeaderWorkerSets, as YAML or JSON; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "filename", conflicts_with = "filename")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as for plan and apply
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) filename: Option<PathBuf>,
    /// Divide tensor ranks that lie on several pods into stages, one a pod: the same GPUs, another division of the model
    #[arg(long)]
    pub(crate) split_tensor: bool,
}

impl MigrateArgs {
    /// The manifest; the command line has one.
    pub(crate) fn manifest(&self) -> &Path {
        self.file.as_deref().or(self.filename.as_deref()).unwrap_or(Path::new("-"))
    }
}
