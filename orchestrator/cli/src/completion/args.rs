//! The flags of `completion`. Parsing only.

use clap::{Args, ValueEnum};

/// Flags of `completion`.
#[derive(Args, Debug)]
#[command(
    after_help = "kubectl completes the words behind `kubectl rayfleet` with a program kubectl_complete-rayfleet, in every \
shell for which `kubectl completion` is set up. The scripts of the shells are for the name kubectl-rayfleet. \
Fleets, groups, nodes, namespaces and contexts are completed from the cluster and the kubeconfig.

Examples:
  kubectl rayfleet completion kubectl > ~/.local/bin/kubectl_complete-rayfleet
  chmod +x ~/.local/bin/kubectl_complete-rayfleet       # any directory of $PATH
  source <(kubectl rayfleet completion bash)            # in ~/.bashrc
  source <(kubectl rayfleet completion zsh)             # in ~/.zshrc, behind compinit
  kubectl rayfleet completion fish | source             # in ~/.config/fish/config.fish"
)]
pub(crate) struct CompletionArgs {
    /// For whom
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Who completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// A program for kubectl's own completion, in every shell
    Kubectl,
    /// kubectl-rayfleet in bash
    Bash,
    /// kubectl-rayfleet in zsh
    Zsh,
    /// kubectl-rayfleet in fish
    Fish,
}
