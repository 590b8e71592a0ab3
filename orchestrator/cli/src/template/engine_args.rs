//! Arguments of vLLM beside those of the shape: what the model needs, and what the command line adds.

use rayfleet_cli_kit::CliError;

/// Options that are printed, which are flags of `template` under the same names: the shape is reckoned with them.
const OWN: [&str; 4] = ["max-model-len", "max-num-seqs", "gpu-memory-utilization", "kv-cache-dtype"];

/// Other options of vLLM that change what the shape is reckoned with; with what to do instead. Those that a fleet may not have are
/// refused with the fleet.
const OTHERS: [(&str, &str); 6] = [
    ("dtype", "the precision is that of the model's config.json: name another model, or give its --config"),
    ("quantization", "the precision is that of the model: name the quantized model, or give its --config"),
    ("kv-cache-memory-bytes", "the cache gets what --gpu-memory-utilization of template leaves: give that"),
    ("num-gpu-blocks-override", "the cache gets what --gpu-memory-utilization of template leaves: give that"),
    ("cpu-offload-gb", "weights are reckoned on the GPUs: choose one with more memory with --gpu"),
    (
        "max-num-batched-tokens",
        "activations are reckoned with vLLM's default: change it in the manifest, with room beside it",
    ),
];

/// Refuses an argument that says nothing, or would say otherwise what the shape was reckoned with.
pub(super) fn check(arg: &str) -> Result<(), CliError> {
    if arg.trim().is_empty() {
        return Err(CliError::usage(
            "--engine-arg: is empty",
            "give an argument of vLLM, as --engine-arg=--enable-expert-parallel, or leave it out",
        ));
    }
    // vLLM takes the beginning of an option for the option.
    let own =
        option(arg).and_then(|name| OWN.into_iter().find(|own| name.len() > 2 && own.starts_with(&*name)));
    if let (None, Some((name, instead))) = (own, other(arg)) {
        return Err(CliError::usage(
            format!("--engine-arg {arg}: the manifest is reckoned without --{name}, and would not fit it"),
            instead,
        ));
    }
    match own {
        None => Ok(()),
        Some(own) => Err(CliError::usage(
            format!("--engine-arg {arg}: the shape is reckoned with --{own}"),
            format!("give it as --{own} of template"),
        )),
    }
}

/// The option of [`OTHERS`] that an argument is.
fn other(arg: &str) -> Option<(&'static str, &'static str)> {
    let short = arg.split('=').next() == Some("-q");
    let name = if short { Some("quantization".to_owned()) } else { option(arg) }?;
    // Its beginning may stand for others, too; the whole name may not.
    OTHERS.into_iter().find(|(other, _)| *other == name)
}

/// What the model needs and the command line does not say, then the command line's; nothing twice.
pub(super) fn merged<'a>(needed: impl Iterator<Item = &'a String>, given: &[String]) -> Vec<String> {
    let said = |arg: &str| given.iter().any(|other| option(other) == option(arg));
    let needed = needed.filter(|arg| !said(arg)).cloned();
    needed.chain(given.iter().cloned()).collect()
}

/// Name of a long option without dashes; vLLM takes underscores for dashes there.
fn option(arg: &str) -> Option<String> {
    let name = arg.strip_prefix("--")?.split('=').next().unwrap_or_default();
    Some(name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_template_prints_is_refused_in_every_spelling() {
        for arg in
            ["--max-model-len=100", "--max_model_len", "--max-model=1", "--kv-cache-dtype=fp8", "", " "]
        {
            let fault = check(arg).unwrap_err();
            assert!(fault.cure.is_some() && fault.message.contains("--engine-arg"), "{arg}: {fault}");
        }
        assert!(check("--max_num_seqs=4").unwrap_err().cure.unwrap().contains("--max-num-seqs of template"));
        for arg in [
            "--dtype=float32",
            "--dtype",
            "--quantization=fp8",
            "--kv-cache-memory-bytes=1",
            "--kv_cache_memory_bytes=1",
            "--max-num-batched-tokens=8",
            "-q=fp8",
            "--cpu-offload-gb=10",
        ] {
            let fault = check(arg).unwrap_err();
            assert!(fault.message.contains("would not fit it") && fault.cure.is_some(), "{arg}: {fault}");
        }
        for arg in ["100", "-O3", "--", "--seed=1", "--kv-cache-dtype-skip-layers"] {
            check(arg).unwrap();
        }
    }

    #[test]
    fn what_is_given_replaces_what_is_needed() {
        let all = |given: &[&str]| {
            let needed = ["--trust-remote-code", "--block-size=128"].map(str::to_owned);
            let given: Vec<String> = given.iter().map(|arg| (*arg).to_owned()).collect();
            merged(needed.iter(), &given)
        };
        assert_eq!(all(&[]), ["--trust-remote-code", "--block-size=128"]);
        assert_eq!(all(&["--trust_remote_code", "--x"]), ["--block-size=128", "--trust_remote_code", "--x"]);
        assert_eq!(all(&["--block-size", "64"]), ["--trust-remote-code", "--block-size", "64"]);
    }
}
