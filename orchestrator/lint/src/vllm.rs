//! The words of a command that starts vLLM's server, as its argument parser takes them (`vllm serve`, or the older module
//! `vllm.entrypoints.openai.api_server`): what the model block says itself, and the rest.

use crate::shell::Word;

/// A command that starts vLLM's server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vllm {
    /// What it loads.
    pub(crate) source: Option<String>,
    /// Names that clients may ask for.
    pub(crate) served: Vec<String>,
    /// Tensor-parallel size.
    pub(crate) tensor: u32,
    /// Pipeline-parallel size.
    pub(crate) pipeline: u32,
    /// Data-parallel engines.
    pub(crate) data: u32,
    /// Port, if one is given.
    pub(crate) port: Option<u16>,
    /// Address on which it listens, if that is not every one.
    pub(crate) host: Option<String>,
    /// Where data-parallel engines on Ray lie and meet: what the size in the model block says, or Rayfleet sets.
    pub(crate) data_placement: Vec<String>,
    /// All further arguments.
    pub(crate) rest: Vec<String>,
    /// Variables that are set before the command.
    pub(crate) env: Vec<(String, String)>,
    /// What of it only the container, or only a person, can resolve.
    pub(crate) odd: Vec<String>,
    /// Ray starts its data-parallel engines.
    data_on_ray: bool,
}

/// A command that starts an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// vLLM's server.
    Vllm(Vllm),
    /// Another server of a known name.
    Other(&'static str),
}

/// Modules and programs of other engines.
const OTHERS: [(&str, &str); 5] = [
    ("sglang.launch_server", "SGLang"),
    ("sglang", "SGLang"),
    ("trtllm-serve", "TensorRT-LLM"),
    ("llama-server", "llama.cpp"),
    ("lmdeploy", "LMDeploy"),
];
/// Options of one value that the model block, or Rayfleet itself, says in their place.
const OF_ONE_VALUE: [&str; 12] = [
    "tensor-parallel-size",
    "tp",
    "pipeline-parallel-size",
    "pp",
    "data-parallel-size",
    "dp",
    "data-parallel-backend",
    "dpb",
    "port",
    "model",
    "distributed-executor-backend",
    "host",
];
/// Options of one value that say where data-parallel engines lie and meet (`vllm/engine/arg_utils.py`).
const DATA_PLACEMENT: [&str; 8] = [
    "data-parallel-size-local",
    "dpl",
    "data-parallel-address",
    "dpa",
    "data-parallel-rpc-port",
    "dpp",
    "data-parallel-start-rank",
    "dpr",
];
/// Port of the server without `--port`.
const PORT: u16 = 8000;
/// The module that `vllm serve` replaced.
const MODULE: &str = "vllm.entrypoints.openai.api_server";

/// The engine that a command starts, if it starts one.
pub(crate) fn engine(words: &[Word]) -> Option<Engine> {
    let mut env = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.peek() {
        if ["exec", "nohup", "env", "time"].contains(&word.text.as_str()) {
            words.next();
        } else if let Some((name, value)) = assignment(&word.text) {
            env.push((name.to_owned(), value.to_owned(), word.literal));
            words.next();
        } else {
            break;
        }
    }
    let program = words.next()?;
    let program = program.text.rsplit('/').next().unwrap_or_default();
    let words: Vec<&Word> = words.collect();
    let (named, arguments) = if program.starts_with("python") {
        let module = words.iter().position(|word| word.text == "-m")?;
        (words.get(module + 1)?.text.as_str(), words.get(module + 2..)?)
    } else {
        (program, words.as_slice())
    };
    if let Some((_, name)) = OTHERS.iter().find(|(other, _)| *other == named) {
        return Some(Engine::Other(name));
    }
    let mut vllm = match (named, arguments) {
        ("vllm", [serve, rest @ ..]) if serve.text == "serve" => parse(rest, true),
        (MODULE, rest) => parse(rest, false),
        _ => return None,
    };
    vllm.odd.extend(
        env.iter().filter(|(_, _, literal)| !literal).map(|(name, value, _)| format!("{name}={value}")),
    );
    vllm.env = env.into_iter().map(|(name, value, _)| (name, value)).collect();
    Some(Engine::Vllm(vllm))
}

fn assignment(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some((name, value))
}

/// An argument as argparse sees it: an option, or a value of one.
fn is_option(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.parse::<f64>().is_err())
}

fn parse(words: &[&Word], positional: bool) -> Vllm {
    let mut vllm = Vllm { tensor: 1, pipeline: 1, data: 1, ..Vllm::default() };
    let mut words = words.iter().peekable();
    if positional && let Some(model) = words.next_if(|word| !is_option(&word.text)) {
        vllm.take_odd(model);
        vllm.source = Some(model.text.clone());
    }
    let mut data_placement: Vec<&Word> = Vec::new();
    while let Some(word) = words.next() {
        if let Some(inline) = data_placed(&word.text) {
            data_placement.push(word);
            data_placement.extend(words.next_if(|word| !inline && !is_option(&word.text)));
            continue;
        }
        vllm.take_odd(word);
        let (option, inline) = match word.text.split_once('=') {
            Some((option, value)) if is_option(&word.text) => (option, Some(value.to_owned())),
            _ => (word.text.as_str(), None),
        };
        let name = option.trim_start_matches('-').replace('_', "-");
        let mut values: Vec<String> = inline.iter().cloned().collect();
        let takes = match (is_option(option), name.as_str()) {
            (true, "served-model-name") => usize::MAX,
            (true, name) if OF_ONE_VALUE.contains(&name) => 1,
            _ => {
                vllm.rest.push(word.text.clone());
                continue;
            }
        };
        while inline.is_none() && values.len() < takes {
            let Some(value) = words.next_if(|word| !is_option(&word.text)) else { break };
            vllm.take_odd(value);
            values.push(value.text.clone());
        }
        vllm.set(&name, values, option);
    }
    let texts = data_placement.iter().map(|word| word.text.clone());
    if vllm.data > 1 && vllm.data_on_ray {
        vllm.data_placement = texts.collect();
    } else {
        vllm.rest.extend(texts);
        for word in data_placement {
            vllm.take_odd(word);
        }
    }
    vllm
}

/// Whether a word is an option of [`DATA_PLACEMENT`], and then whether its value is in it.
fn data_placed(text: &str) -> Option<bool> {
    let (option, inline) = text.split_once('=').map_or((text, false), |(option, _)| (option, true));
    let name = option.trim_start_matches('-').replace('_', "-");
    (is_option(option) && DATA_PLACEMENT.contains(&name.as_str())).then_some(inline)
}

impl Vllm {
    fn take_odd(&mut self, word: &Word) {
        // Kubernetes has put in what it knows by `$(NAME)` before a shell sees it; what is left looks the same.
        if !word.literal || word.text.contains("$(") {
            self.odd.push(word.text.clone());
        }
    }

    fn set(&mut self, name: &str, mut values: Vec<String>, option: &str) {
        if name == "served-model-name" {
            self.served = values;
            return;
        }
        let Some(value) = values.pop() else {
            self.odd.push(option.to_owned());
            return;
        };
        let size = value.parse::<u32>().ok().filter(|size| *size > 0);
        let read = match name {
            "tensor-parallel-size" | "tp" => size.map(|size| self.tensor = size),
            "pipeline-parallel-size" | "pp" => size.map(|size| self.pipeline = size),
            "data-parallel-size" | "dp" => size.map(|size| self.data = size),
            "port" => value.parse().ok().filter(|port| *port > 0).map(|port| self.port = Some(port)),
            "model" => {
                self.source = Some(value.clone());
                Some(())
            }
            // Ray is where Rayfleet runs it.
            "distributed-executor-backend" => (value == "ray").then_some(()),
            "data-parallel-backend" | "dpb" => {
                self.data_on_ray = value == "ray";
                self.data_on_ray.then_some(())
            }
            "host" => {
                self.host = Some(value.clone()).filter(|host| !["0.0.0.0", "::"].contains(&host.as_str()));
                Some(())
            }
            _ => Some(()),
        };
        if read.is_none() {
            self.odd.push(format!("{option} {value}"));
        }
    }

    /// Port on which it listens.
    pub(crate) fn listens(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }

    /// Ranks of one engine.
    pub(crate) fn engine_ranks(&self) -> u64 {
        u64::from(self.tensor).saturating_mul(self.pipeline.into())
    }

    /// Ranks of all its data-parallel engines.
    pub(crate) fn ranks(&self) -> u64 {
        self.engine_ranks().saturating_mul(self.data.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::commands;

    fn vllm(script: &str) -> Vllm {
        match engine(&commands(script).unwrap().pop().unwrap().words) {
            Some(Engine::Vllm(vllm)) => vllm,
            other => panic!("{script}: {other:?}"),
        }
    }

    #[test]
    fn what_the_model_block_says_is_taken_out_and_the_rest_is_kept_in_order() {
        let found = vllm(
            "A_B=1 exec /usr/bin/vllm serve org/m --served-model-name big other --trust-remote-code \
             --tensor_parallel_size=8 -pp 2 --distributed-executor-backend ray --host 0.0.0.0 --port 8080 \
             --max-model-len 4096 --seed -1",
        );
        assert_eq!(
            (found.source.as_deref(), found.tensor, found.pipeline, found.port),
            (Some("org/m"), 8, 2, Some(8080))
        );
        assert_eq!(found.served, ["big", "other"]);
        assert_eq!(found.rest, ["--trust-remote-code", "--max-model-len", "4096", "--seed", "-1"]);
        assert_eq!((found.env, found.odd), (vec![("A_B".to_owned(), "1".to_owned())], Vec::<String>::new()));
        let module = "python3 -u -m vllm.entrypoints.openai.api_server --port 80 --model /m --pipeline_parallel_size 2";
        assert_eq!((vllm(module).source.as_deref(), vllm(module).ranks()), (Some("/m"), 2));
        let experts = vllm("vllm serve m -tp 8 -dp 2 --data-parallel-backend=ray --enable-expert-parallel");
        assert_eq!((experts.data, experts.engine_ranks(), experts.ranks()), (2, 8, 16));
        assert_eq!((experts.rest, experts.odd), (vec!["--enable-expert-parallel".to_owned()], Vec::new()));
    }

    #[test]
    fn where_data_parallel_engines_lie_goes_with_their_size_on_ray() {
        let places =
            "-dpl 1 --data-parallel-address $(LWS_LEADER_ADDRESS) --data_parallel_rpc_port=13345 -dpr $START";
        let found = vllm(&format!("vllm serve m -dp 2 {places} --data-parallel-backend=ray -tp 8 --seed 1"));
        assert_eq!((found.data, found.tensor, found.odd.len()), (2, 8, 0));
        assert_eq!(
            (found.data_placement.join(" "), found.rest.join(" ")),
            (places.into(), "--seed 1".into())
        );
        for other in ["-dp 2", "-dpb ray", "-dp $N -dpb ray"] {
            let found = vllm(&format!("vllm serve m {other} {places}"));
            assert!(found.data_placement.is_empty() && found.odd.contains(&"$START".to_owned()), "{other}");
        }
        let found = vllm("vllm serve m -dp 2 -dpb ray --data-parallel-hybrid-lb");
        assert_eq!(found.rest, ["--data-parallel-hybrid-lb"], "refused where the fleet is validated");
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        for (script, odd) in [
            ("vllm serve $MODEL", "$MODEL"),
            ("vllm serve m -tp $(LWS_GROUP_SIZE)", "$(LWS_GROUP_SIZE)"),
            ("vllm serve m --port 0", "--port 0"),
            ("vllm serve m --port", "--port"),
            ("vllm serve m --distributed-executor-backend mp", "--distributed-executor-backend mp"),
            ("vllm serve m -dp 2 -dpb mp", "-dpb mp"),
            ("TP=$N vllm serve m", "TP=$N"),
        ] {
            assert!(vllm(script).odd.iter().any(|found| found == odd), "{script}: {:?}", vllm(script).odd);
        }
        for (script, found) in [
            ("python3 -m sglang.launch_server --tp 2", Some(Engine::Other("SGLang"))),
            ("vllm bench", None),
            ("ray start --head", None),
            ("python -m", None),
            ("A=1", None),
        ] {
            assert_eq!(engine(&commands(script).unwrap()[0].words), found, "{script}");
        }
    }
}
