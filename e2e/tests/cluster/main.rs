//! Tests of Rayfleet on a real cluster, in a fixed order, some on the fleet that the one before left, and some beside others.
//!
//! `hack/e2e` brings up a cluster, installs Rayfleet and runs them; without `RAYFLEET_E2E=1` they report
//! that they were skipped. Arguments are parts of names, as for `cargo test`; `--list` lists the tests.

mod aibrix;
mod bad_input;
mod bounds;
mod deaths;
mod experts;
mod faults;
mod gateway;
mod kuberay_missing;
mod lifecycle;
mod light;
mod main_job;
mod moved;
mod no_room;
mod nodes;
mod planned;
mod replaced;
mod runner;
mod soak;
mod suite;
mod takeover;
mod template;
mod upgrades;
mod wrong;

use std::process::ExitCode;
use std::time::Duration;

use rayfleet_e2e::concurrency::Concurrency;
use rayfleet_e2e::console::{line, print_error};
use rayfleet_e2e::test_filter::chosen;
use runner::{Scenario, run_all};
use suite::Suite;

/// All scenarios, in order. Those of the light engine come first, as they fail sooner; each leaves the
/// fleet of light engines as the next one needs it.
fn scenarios() -> Vec<Scenario> {
    let minutes = Duration::from_mins;
    vec![
        Scenario::new("bad_input_is_refused_at_apply", minutes(1), |s| Box::pin(bad_input::refused(s))),
        Scenario::new("examples_are_taken_by_the_api_server", minutes(1), |s| {
            Box::pin(bad_input::examples(s))
        }),
        Scenario::new("kuberay_missing_is_explained_and_survived", minutes(7), |s| {
            Box::pin(kuberay_missing::reported(s))
        }),
        Scenario::new("create_becomes_ready_and_answers", minutes(4), |s| Box::pin(lifecycle::create(s)))
            .concurrency(Concurrency::Shared),
        Scenario::new("scale_2_1_3_2", minutes(6), |s| Box::pin(lifecycle::scale(s)))
            .concurrency(Concurrency::Shared),
        Scenario::new("a_drained_group_is_replaced", minutes(5), |s| Box::pin(replaced::by_drain(s)))
            .concurrency(Concurrency::Shared),
        // Two groups at the most, and three of the fleet that is scaled: 10 of the cluster's 12 GPUs.
        Scenario::new("aibrix_manifest_works_and_upgrades", minutes(7), |s| Box::pin(aibrix::works(s)))
            .concurrency(Concurrency::SecondNamespace),
        Scenario::new("upgrade_as_planned_through_kills_and_undo", minutes(12), |s| {
            Box::pin(upgrades::through_kills_and_undone(s))
        }),
        Scenario::new("a_bad_model_is_rolled_back", minutes(7), |s| Box::pin(wrong::model(s)))
            .concurrency(Concurrency::Shared),
        // AIBrix's CRD is for all to see, but only its objects matter, and these are of one fleet.
        Scenario::new("groups_of_aibrix_are_taken_over", minutes(7), |s| Box::pin(moved::taken_over(s)))
            .concurrency(Concurrency::SecondNamespace),
        Scenario::new("a_node_is_avoided_and_lost_mid_upgrade", minutes(14), |s| {
            Box::pin(nodes::avoided_and_lost(s))
        }),
        Scenario::new("delete_leaves_nothing", minutes(5), |s| Box::pin(lifecycle::delete(s))),
        Scenario::new("no_room_replaces_in_place_as_planned", minutes(8), |s| Box::pin(no_room::replaced(s))),
        Scenario::new("bad_input_is_explained_without_a_hot_loop", minutes(5), |s| {
            Box::pin(bad_input::explained(s))
        }),
        Scenario::new("faults_are_reported_and_recovered_from", minutes(12), |s| Box::pin(faults::all(s))),
        Scenario::new("a_template_is_applied_and_answers", minutes(9), |s| Box::pin(template::applied(s))),
        Scenario::new("main_job_with_vllm", minutes(25), |s| Box::pin(main_job::kept(s))),
        Scenario::named("experts_are_shared_by_two_engines_and_upgraded", minutes(40), |s| {
            Box::pin(experts::shared(s))
        }),
        Scenario::named("faults_that_are_others_to_the_fleet", minutes(5), |s| Box::pin(faults::alike(s))),
        Scenario::named("plan_agrees_with_what_happens", minutes(40), |s| Box::pin(planned::agrees(s))),
        Scenario::named("soak_every_node_drained", minutes(40), |s| Box::pin(soak::every_node_drained(s))),
        Scenario::named("soak_random_operations", minutes(300), |s| Box::pin(soak::random_operations(s))),
    ]
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(chosen) =
        chosen(scenarios(), |scenario| scenario.name, |scenario| scenario.by_name_only, "hack/e2e")
    else {
        return ExitCode::SUCCESS;
    };
    let suite = match Suite::start().await {
        Ok(suite) => suite,
        Err(error) => {
            print_error(format_args!("error: the tests cannot begin: {error:#}"));
            line(format_args!("0 passed, {} failed, 0 skipped", chosen.len()));
            return ExitCode::FAILURE;
        }
    };
    run_all(&suite, chosen).await
}
