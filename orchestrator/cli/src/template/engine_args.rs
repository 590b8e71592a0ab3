//! Arguments of vLLM beside those of the shape: what the model needs, and what the command line adds.

use rayfleet_cli_kit::CliError;

/// Options that are printed, which are flags of `template` under the same names: the shape is reckoned with them.
const OWN: [&str; 4] = ["max-model-len", "max-num-seqs", "gpu-memory-utilization", "kv-cache-dtype"];

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
    match own {
        None => Ok(()),
        Some(own) => Err(CliError::usage(
            format!("--engine-arg {arg}: the shape is reckoned with --{own}"),
            format!("give it as --{own} of template"),
        )),
    }
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
        for arg in
            ["--max-num-batched-tokens=8", "100", "-O3", "--", "--seed=1", "--kv-cache-dtype-skip-layers"]
        {
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
