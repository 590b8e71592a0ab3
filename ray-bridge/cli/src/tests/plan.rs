//! `plan`: where ranks go, and what is missing.

use serde_json::Value;

use super::{File, file, ran};
use crate::fake::Fake;
use crate::model::tests::TINY;

#[tokio::test]
async fn plan_shows_the_node_of_every_rank() {
    let (_file, path) = file("plan");
    let fake = Fake::start().await;
    let text = ran(&fake, &format!("plan -f {path}")).await;
    assert_eq!(text.code(), 0);
    insta::assert_snapshot!(text.out);
    let json = ran(&fake, &format!("plan -f {path} -o json")).await;
    let plan: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(plan["ranks"].as_array().unwrap().len(), 4);
    assert_eq!((&plan["fits"], &plan["ranks"][2]["node"]), (&Value::Bool(true), &Value::from("worker-0")));
    assert!(fake.with(|cluster| cluster.asked.iter().all(|asked| asked.starts_with("GET "))));
}

#[tokio::test]
async fn plan_obeys_the_placement_flags() {
    let (_file, path) = file("plan-nodes");
    let small = File::new("plan-small", &TINY.replace("tensor: 2, pipeline: 2", "tensor: 1, pipeline: 2"));
    let small = small.0.display();
    let fake = Fake::start().await;
    let nodes = async |line: String| {
        let yaml = ran(&fake, &line).await;
        assert_eq!(yaml.code(), 0, "{}", yaml.said());
        let plan: Value = serde_saphyr::from_str(&yaml.out).unwrap();
        let ranks = plan["ranks"].as_array().unwrap().clone();
        ranks
            .iter()
            .map(|rank| format!("{} {}", rank["node"].as_str().unwrap(), rank["gpu"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(format!("plan -f {small} -o yaml")).await, ["head-0 0", "head-0 1"]);
    let spread = format!("plan -f {small} -o yaml --strategy spread");
    assert_eq!(nodes(spread).await, ["head-0 0", "worker-0 0"]);
    assert_eq!(nodes(format!("plan -f {small} -o yaml --avoid head-0")).await, ["worker-0 0", "worker-0 1"]);
    assert_eq!(
        nodes(format!("plan -f {small} -o yaml --exclude 10.0.0.1")).await,
        ["worker-0 0", "worker-0 1"]
    );

    let avoided = ran(&fake, &format!("plan -f {path} --avoid 10.0.0.2")).await;
    let note = "note: worker-0 has ranks although it should be avoided: the others have no room";
    assert!(avoided.code() == 0 && avoided.out.contains(note), "{}", avoided.out);
    let excluded = ran(&fake, &format!("plan -f {path} --exclude worker-0")).await;
    assert_eq!(excluded.code(), 1);
    insta::assert_snapshot!(excluded.out);
}

#[tokio::test]
async fn a_plan_that_does_not_fit_shows_what_is_missing_and_the_cure() {
    let (_file, path) = file("no-plan");
    let fake = Fake::start().await;
    fake.with(|cluster| cluster.used = [0, 1]);
    let busy = ran(&fake, &format!("plan -f {path}")).await;
    let wide = File::new("wide", &TINY.replace("tensor: 2, pipeline: 2", "tensor: 4, pipeline: 1"));
    let wide = ran(&fake, &format!("plan -f {}", wide.0.display())).await;
    let long = File::new("long", &TINY.replace("pipeline: 2", "pipeline: 5"));
    let long = ran(&fake, &format!("plan -f {}", long.0.display())).await;
    assert_eq!((busy.code(), wide.code(), long.code()), (1, 1, 1));
    insta::assert_snapshot!([busy.out, wide.out, long.out].join("\n"));
}
