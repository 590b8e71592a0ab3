//! What a container runs: its command and arguments as Kubernetes joins them, and the commands of a shell's script in them.

use serde_json::Value;

use crate::shell::{self, Command, End, Word};
use crate::vllm::{self, Engine};

/// The variable with the command by which KubeRay starts Ray.
pub(crate) const START: &str = "KUBERAY_GEN_RAY_START_CMD";
/// vLLM's script that starts Ray on a leader and its workers.
pub(crate) const SCRIPT: &str = "multi-node-serving.sh";

/// What a container runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    /// Field of the script, or of the command, below the container: `args[0]`.
    pub(crate) field: String,
    /// The script, if a shell runs one.
    pub(crate) script: Option<String>,
    /// Its commands, or the one command of the container.
    pub(crate) commands: Vec<Command>,
}

/// What a container runs by its own command and arguments; `None` if it has none, or a script that cannot be read.
pub(crate) fn of(container: &Value) -> Option<Launch> {
    let words = |field: &'static str| {
        let words = container[field].as_array().into_iter().flatten().enumerate();
        words.filter_map(move |(index, word)| Some((format!("{field}[{index}]"), word.as_str()?)))
    };
    let argv: Vec<(String, &str)> = words("command").chain(words("args")).collect();
    let (_, program) = argv.first()?;
    let program = program.rsplit('/').next().unwrap_or_default();
    if ["sh", "bash", "dash", "ash", "zsh"].contains(&program) {
        let mut options = argv.iter().skip(1).skip_while(|(_, word)| !is_command_option(word));
        options.next()?;
        let (field, script) = options.find(|(_, word)| *word != "--")?;
        let commands = shell::commands(script)?;
        return Some(Launch { field: field.clone(), script: Some((*script).to_owned()), commands });
    }
    let literal = |(_, word): &(String, &str)| Word { text: (*word).to_owned(), literal: true };
    let words = argv.iter().map(literal).collect();
    let command =
        Command { words, end: End::Sequence, range: 0..0, whole: 0..0, redirected: false, writes: false };
    Some(Launch { field: argv.first()?.0.clone(), script: None, commands: vec![command] })
}

/// `-c`, or several short options with it: `-lc`.
fn is_command_option(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|letters| {
        letters.ends_with('c') && letters.chars().all(|letter| letter.is_ascii_alphabetic())
    })
}

impl Launch {
    /// The command that starts an engine, and its number.
    pub(crate) fn engine(&self) -> Option<(usize, Engine)> {
        let mut engines = self.commands.iter().enumerate();
        engines.find_map(|(index, command)| Some((index, vllm::engine(&command.words)?)))
    }

    /// Number of the command that starts Ray: by KubeRay's variable, vLLM's script, or itself.
    pub(crate) fn ray_start(&self) -> Option<usize> {
        self.commands.iter().position(starts_ray)
    }
}

/// Whether a command starts Ray.
pub(crate) fn starts_ray(command: &Command) -> bool {
    let raw = command.words.windows(2).any(|pair| pair[0].text == "ray" && pair[1].text == "start");
    raw || command.names(START) || command.names(SCRIPT)
}

/// Whether a command is Ray's own, and stays until Ray ends.
pub(crate) fn blocks(command: &Command) -> bool {
    let mut words = command.words.iter().map(|word| word.text.as_str()).skip_while(|word| *word != "ray");
    words.nth(1) == Some("start") && words.any(|word| word == "--block")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_script_is_found_behind_a_shells_options() {
        for (container, field) in [
            (json!({"command": ["/bin/bash", "-lc", "--"], "args": ["a; vllm serve m"]}), "args[0]"),
            (json!({"command": ["sh", "-c", "a; vllm serve m"]}), "command[2]"),
            (json!({"args": ["bash", "-e", "-c", "a; vllm serve m", "name"]}), "args[3]"),
        ] {
            let launch = of(&container).unwrap();
            assert_eq!(launch.field, field);
            assert_eq!(launch.engine().unwrap().0, 1);
        }
        let plain = of(&json!({"command": ["vllm"], "args": ["serve", "m; n"]})).unwrap();
        assert!(plain.script.is_none() && plain.engine().is_some());
        for none in
            [json!({}), json!({"command": []}), json!({"command": ["bash", "x.sh"]}), json!({"command": "a"})]
        {
            assert_eq!(of(&none), None, "{none}");
        }
    }
}
