//! Arguments of an engine that the bridge sets itself or relies on, as they are usually written: what the CRD refuses when it is applied.
//! Every other way to write them (abbreviations, mixed dashes) is refused by [`ray_bridge::engine::check_args`].

use ray_bridge::engine::owned_args;

/// The options with their dashes, long ones also with underscores between the words. Sorted, since they stand in the CRD.
pub fn options() -> Vec<String> {
    let mut long: Vec<&str> =
        owned_args().filter(|(_, family, _)| !family).map(|(long, _, _)| long).collect();
    let mut short: Vec<&str> = owned_args().flat_map(|(_, _, short)| short).copied().collect();
    long.sort_unstable();
    short.sort_unstable();
    let of_several_words = long.iter().filter(|name| name.contains('-'));
    let long =
        long.iter().map(|name| format!("--{name}")).chain(of_several_words.map(|name| underscored(name)));
    long.chain(short.iter().map(|name| format!("-{name}"))).collect()
}

/// How every option of a family begins.
pub fn families() -> Vec<String> {
    let families = owned_args().filter(|(_, family, _)| *family);
    families.flat_map(|(long, _, _)| [format!("--{long}"), underscored(long)]).collect()
}

fn underscored(name: &str) -> String {
    format!("--{}", name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use ray_bridge::engine::check_args;

    use super::*;

    /// Whether an argument is one of them, alone (its value is the next one) or with its value behind `=`: what the CRD's rule says.
    fn is_owned(arg: &str) -> bool {
        let option = arg.split('=').next().unwrap_or_default();
        options().iter().any(|owned| owned == option)
            || families().iter().any(|family| arg.starts_with(&**family))
    }

    #[test]
    fn usual_spellings_are_distinguished_from_others() {
        for owned in [
            "--port",
            "--port=9000",
            "--tensor_parallel_size=2",
            "--served_model_name",
            "-tp",
            "-tp=2",
            "-dpl",
            "--data-parallel-size",
            "--data_parallel_size",
            "--headless",
        ] {
            assert!(is_owned(owned) && check_args(&[owned.to_owned()]).is_err(), "{owned}");
        }
        for other in
            ["9000", "--por=1", "--config-format", "--max-model-len=1", "-O3", "", "--", "--portal", "-q"]
        {
            assert!(!is_owned(other), "{other}");
        }
    }
}
