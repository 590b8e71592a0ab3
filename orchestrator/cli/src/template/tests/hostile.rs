//! Files and values that somebody else wrote, or that lead elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{printed, refused, scratch};

#[test]
fn texts_of_a_configuration_are_one_line_of_moderate_length() {
    let directory = scratch("hostile");
    fs::create_dir_all(&directory).unwrap();
    let config = directory.join("config.json");
    let odd = format!("a\u{1b}[2J\nerror: b\u{202e}\u{200b}{}", "c".repeat(100_000));
    let faults = [
        serde_json::json!({"model_type": odd}),
        serde_json::json!({"model_type": "llama", "quantization_config": {"quant_method": odd}}),
        serde_json::json!({"model_type": "llama", "quantization_config": {"quant_method": "fp8", "ignore": [format!("re:({odd}")]}}),
        serde_json::json!({"model_type": "llama", "torch_dtype": odd}),
    ]
    .map(|content| {
        fs::write(&config, content.to_string()).unwrap();
        refused(&format!("template --gpu h100 --name a --config {}", config.display()))
    });
    fs::remove_dir_all(&directory).unwrap();
    for fault in faults {
        let plain = fault.message.chars().all(|c| !c.is_control() && !"\u{202e}\u{200b}".contains(c));
        assert!(plain && fault.message.contains("a [2J error: bc"), "{:?}", fault.message);
        assert!(
            fault.message.len() < 200 + config.display().to_string().len() + 60,
            "{}",
            fault.message.len()
        );
    }
}

#[test]
fn values_that_say_nothing_or_the_wrong_are_refused_by_their_field() {
    for (more, field) in [
        ("--set image=", "image: "),
        ("--set registry=", "registry: "),
        ("--set rayVersion=abc", "rayVersion: "),
        ("--set rdmaResource=a/b/c{,}", "rdmaResource: "),
        ("--set tolerations=[{operator:Exist}]", "--set tolerations: "),
        ("--set modelPath=/dev/shm/models", "modelPath: "),
        ("--gateway a/b --hostname *.*.x", "--hostname: "),
        ("--gateway a/b --hostname 10.0.0.1", "--hostname: "),
        ("--gateway a.b/c", "--gateway: "),
        ("--engine-arg=", "--engine-arg: "),
    ] {
        let fault = refused(&format!("template gpt-oss-120b --gpu h200 {more}"));
        assert!(fault.message.starts_with(field) && fault.cure.is_some(), "{more}: {fault}");
    }
}

/// All that is in a directory, by name.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn nothing_is_written_through_a_link() {
    let directory = scratch("links");
    fs::create_dir_all(&directory).unwrap();
    let (new, other) = (directory.join("new"), directory.join("other"));
    fs::create_dir_all(&new).unwrap();
    // A link to nothing, which `exists` does not see.
    symlink(&other, new.join("kustomization.yaml")).unwrap();
    let line = format!("template gpt-oss-120b --gpu h200 --output-dir {}", new.display());
    let there = refused(&line);
    let untouched = (names(&new), other.exists());
    fs::write(&other, "mine").unwrap();
    printed(&format!("{line} --force"));
    let replaced = fs::symlink_metadata(new.join("kustomization.yaml")).unwrap().is_file();
    let (kept, all) = (fs::read_to_string(&other).unwrap(), names(&new));
    fs::remove_dir_all(&directory).unwrap();
    assert!(there.message.contains("kustomization.yaml is there already"), "{there}");
    assert_eq!(untouched, (vec!["kustomization.yaml".to_owned()], false));
    assert!(replaced && kept == "mine");
    assert_eq!(all, ["fleet.yaml", "kustomization.yaml"]);
}

#[test]
fn all_files_are_written_or_none() {
    let directory = scratch("whole");
    fs::create_dir_all(directory.join("kustomization.yaml")).unwrap();
    fs::write(directory.join("fleet.yaml"), "mine").unwrap();
    let line = format!("template gpt-oss-120b --gpu h200 --force --output-dir {}", directory.display());
    let fault = refused(&line);
    let (kept, all) = (fs::read_to_string(directory.join("fleet.yaml")).unwrap(), names(&directory));
    fs::remove_dir(directory.join("kustomization.yaml")).unwrap();
    // What was left by another is in the way of the second file: the first one is taken back.
    let part = directory.join(format!(".kustomization.yaml.{}.part", std::process::id()));
    fs::write(&part, "").unwrap();
    let second = refused(&line);
    let after = (fs::read_to_string(directory.join("fleet.yaml")).unwrap(), names(&directory).len());
    fs::remove_dir_all(&directory).unwrap();
    assert!(fault.message.contains("is a directory") && fault.cure.is_some(), "{fault}");
    assert_eq!((kept.as_str(), all.len()), ("mine", 2));
    assert!(second.message.contains("cannot write to"), "{second}");
    assert_eq!(after, ("mine".to_owned(), 2));
}
