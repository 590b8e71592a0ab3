//! How long plans take: `cargo bench -p ray-bridge --bench placement`. Figures of one run are in
//! `docs/placement.md`. 100,000 GPUs are 12,500 nodes of eight, or 25,000 of four in NVL72 racks.

use std::collections::BTreeMap;

use divan::Bencher;
use divan::counter::ItemsCount;
use ray_bridge::NodeId;
use ray_bridge::placement::{Policy, RayNode, Shape, Strategy, hops, plan};

fn main() {
    divan::main();
}

/// A head without GPUs and `nodes` nodes of `gpus` each: 18 per fabric, which is also a rack, 20 racks per
/// block, 12 blocks per zone. Every seventh node is fully used and every fifth half used.
fn cluster(nodes: usize, gpus: u32, labelled: bool) -> Vec<RayNode> {
    let node = |number: usize| {
        let free = match number {
            0 => 0,
            _ if number.is_multiple_of(7) => 0,
            _ if number.is_multiple_of(5) => gpus / 2,
            _ => gpus,
        };
        let mut labels = BTreeMap::from([
            ("ray.io/node-id".to_owned(), format!("{number:056x}")),
            ("ray.io/accelerator-type".to_owned(), "H100".to_owned()),
        ]);
        if labelled {
            let rack = number / 18;
            labels.extend([
                ("nvidia.com/gpu.clique".to_owned(), format!("c0ffee-{rack}.0")),
                ("fabric.topograph.run/tier-0".to_owned(), format!("leaf-{rack}")),
                ("fabric.topograph.run/tier-1".to_owned(), format!("spine-{}", rack / 20)),
                ("topology.kubernetes.io/zone".to_owned(), format!("zone-{}", rack / 240)),
            ]);
        }
        RayNode {
            id: NodeId(format!("{number:056x}")),
            ip: format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
            name: format!("node-{number}"),
            is_head: number == 0,
            alive: true,
            state_message: None,
            gpus_total: if number == 0 { 0 } else { gpus },
            gpus_free: free,
            labels,
        }
    };
    (0..=nodes).map(node).collect()
}

fn measure(bencher: Bencher<'_, '_>, nodes: &[RayNode], shape: (u32, u32), policy: &Policy) {
    let shape = Shape::new(shape.0, shape.1);
    bencher.counter(ItemsCount::new(nodes.len())).bench(|| {
        let shape = divan::black_box(shape.as_ref().map(|shape| *shape)).ok()?;
        plan(shape, divan::black_box(nodes), policy).ok()
    });
}

fn spread() -> Policy {
    Policy { strategy: Strategy::Spread, ..Policy::default() }
}

fn nvl72() -> Policy {
    Policy { tensor_domain: Some("nvidia.com/gpu.clique".to_owned()), ..Policy::default() }
}

#[divan::bench]
fn tp8_pp2_on_2_nodes(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(2, 8, true), (8, 2), &Policy::default());
}

#[divan::bench]
fn on_100_000_gpus_tp8_pp2_without_labels(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(12_500, 8, false), (8, 2), &Policy::default());
}

#[divan::bench]
fn on_100_000_gpus_tp8_pp2(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(12_500, 8, true), (8, 2), &Policy::default());
}

#[divan::bench]
fn on_100_000_gpus_tp8_pp2_spread(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(12_500, 8, true), (8, 2), &spread());
}

#[divan::bench]
fn on_100_000_gpus_tp8_pp128(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(12_500, 8, true), (8, 128), &Policy::default());
}

/// The longest pipeline that is allowed.
#[divan::bench(sample_count = 10)]
fn on_100_000_gpus_tp1_pp1024(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(12_500, 8, true), (1, 1024), &Policy::default());
}

#[divan::bench]
fn on_100_000_gpus_tp48_pp4_within_nvl72(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(25_000, 4, true), (48, 4), &nvl72());
}

#[divan::bench]
fn on_100_000_gpus_tp16_pp2_that_does_not_fit(bencher: Bencher<'_, '_>) {
    measure(bencher, &cluster(12_500, 8, true), (16, 2), &Policy::default());
}

#[divan::bench]
fn on_100_000_gpus_hops_of_tp8_pp128(bencher: Bencher<'_, '_>) {
    let (nodes, policy) = (cluster(12_500, 8, true), Policy::default());
    let placement = Shape::new(8, 128).ok().and_then(|shape| plan(shape, &nodes, &policy).ok());
    bencher.bench(|| placement.as_ref().map(|placement| hops(placement, divan::black_box(&nodes), &policy)));
}
