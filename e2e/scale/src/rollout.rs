//! A rolling upgrade of one fleet: how many groups it may have in work, and what is changed in the object for it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// An environment variable that only the new template has.
const MARK: &str = "SCALE_TEMPLATE";

/// `maxSurge/maxUnavailable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rollout {
    surge: Amount,
    unavailable: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Groups(u16),
    Percent(u16),
}

impl FromStr for Rollout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || {
            let (surge, unavailable) = text.split_once('/')?;
            Some(Self { surge: Amount::read(surge)?, unavailable: Amount::read(unavailable)? })
        };
        let rollout = all().ok_or("give maxSurge/maxUnavailable, for example 10%/10% or 1/0")?;
        if rollout.surge.is_zero() && rollout.unavailable.is_zero() {
            return Err("with both 0 no group can be upgraded".to_owned());
        }
        Ok(rollout)
    }
}

impl Amount {
    fn read(text: &str) -> Option<Self> {
        let number = |digits: &str, most| {
            digits.parse().ok().filter(|number| *number <= most && !digits.starts_with('+'))
        };
        match text.strip_suffix('%') {
            Some(percent) => number(percent, 100).map(Self::Percent),
            None => number(text, 1000).map(Self::Groups),
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Groups(0) | Self::Percent(0))
    }

    fn of(self, groups: u16, round: fn(u32, u32) -> u32) -> u32 {
        match self {
            Self::Groups(number) => u32::from(number),
            Self::Percent(percent) => round(u32::from(groups) * u32::from(percent), 100),
        }
    }

    fn field(self) -> Value {
        match self {
            Self::Groups(number) => json!(number),
            Self::Percent(_) => json!(self.to_string()),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.surge, self.unavailable)
    }
}

impl Rollout {
    /// Waves of one fleet: each upgrades as many groups as surge and unavailable are together. Percents are rounded as a Deployment
    /// does it: surge up, unavailable down, and one unavailable where both are nothing.
    pub(crate) fn waves(self, groups: u16) -> u32 {
        let together = self.surge.of(groups, u32::div_ceil) + self.unavailable.of(groups, |a, b| a / b);
        u32::from(groups).div_ceil(together.max(1))
    }

    /// Writes it into an object, where its kind has it.
    pub(crate) fn enter(self, object: &mut Value) {
        let spec = &mut object["spec"];
        let of_sets = spec.get("leaderWorkerTemplate").is_some();
        let (strategy, rolling) = if of_sets {
            ("rolloutStrategy", "rollingUpdateConfiguration")
        } else {
            ("strategy", "rollingUpdate")
        };
        spec[strategy]["type"] = json!("RollingUpdate");
        spec[strategy][rolling] =
            json!({"maxSurge": self.surge.field(), "maxUnavailable": self.unavailable.field()});
    }
}

/// Sets the number of groups.
pub(crate) fn set_groups(object: &mut Value, groups: u16) -> anyhow::Result<()> {
    let replicas = object.pointer_mut("/spec/replicas").context("the object has no spec.replicas")?;
    *replicas = json!(groups);
    Ok(())
}

/// Marks every pod template in an object, as a user does who sets an environment variable.
pub(crate) fn mark_templates(object: &mut Value) -> anyhow::Result<()> {
    ensure!(mark(&mut object["spec"]) > 0, "the object has no pod template with containers");
    Ok(())
}

fn mark(value: &mut Value) -> usize {
    match value {
        Value::Object(fields) => {
            let within = |(name, value): (&String, &mut Value)| match value {
                Value::Array(containers) if name == "containers" => containers.iter_mut().map(set_mark).sum(),
                other => mark(other),
            };
            fields.iter_mut().map(|(name, value)| within((name, value))).sum()
        }
        Value::Array(items) => items.iter_mut().map(mark).sum(),
        _ => 0,
    }
}

fn set_mark(container: &mut Value) -> usize {
    let variable = json!({"name": MARK, "value": "new"});
    match container.get_mut("env") {
        Some(Value::Array(variables)) => variables.push(variable),
        _ => container["env"] = json!([variable]),
    }
    1
}

/// Whether a pod is of the new template.
pub(crate) fn is_marked(pod: &Pod) -> bool {
    let mut variables =
        pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.env.iter().flatten());
    variables.any(|variable| variable.name == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(text: &str) -> Rollout {
        text.parse().unwrap()
    }

    #[test]
    fn waves_are_those_of_a_deployment() {
        assert_eq!(rollout("10%/10%").waves(60), 5);
        assert_eq!(rollout("1/0").waves(60), 60);
        assert_eq!(rollout("0/1").waves(60), 60);
        assert_eq!(rollout("25%/25%").waves(5), 2, "2 and 1");
        assert_eq!(rollout("0/10%").waves(5), 5, "rounded to nothing");
        assert_eq!(rollout("1000/0").waves(5), 1);
    }

    #[test]
    fn impossible_amounts_are_refused() {
        for text in ["0/0", "0%/0", "10%", "1/", "/1", "-1/1", "+1/1", "101%/0", "1001/0", "1/1/1", "a/b"] {
            assert!(text.parse::<Rollout>().is_err(), "{text}");
        }
        assert_eq!(rollout("10%/1").to_string(), "10%/1");
    }

    #[test]
    fn a_fleet_and_a_set_have_it_in_their_own_fields() {
        let mut fleet = json!({"spec": {"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1}}}});
        set_groups(&mut fleet, 60).unwrap();
        rollout("10%/0").enter(&mut fleet);
        let rolling = json!({"maxSurge": "10%", "maxUnavailable": 0});
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
        assert_eq!(fleet, json!({"spec": {"replicas": 60, "strategy": strategy}}));
        let mut set = json!({"spec": {"leaderWorkerTemplate": {}}});
        rollout("10%/0").enter(&mut set);
        assert_eq!(set["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"], rolling);
        assert!(set_groups(&mut set, 60).is_err());
    }

    #[test]
    fn pods_of_marked_templates_are_known() {
        let template =
            json!({"spec": {"containers": [{"name": "ray"}, {"name": "side", "env": [{"name": "A"}]}]}});
        let mut fleet = json!({"spec": {"template": {"spec": {
            "headGroupSpec": {"template": template}, "workerGroupSpecs": [{"template": template}]
        }}}});
        let pod = |template: &Value| serde_json::from_value::<Pod>(template.clone()).unwrap();
        assert!(!is_marked(&pod(&template)));
        mark_templates(&mut fleet).unwrap();
        let marked = &fleet["spec"]["template"]["spec"];
        assert!(is_marked(&pod(&marked["headGroupSpec"]["template"])));
        assert!(is_marked(&pod(&marked["workerGroupSpecs"][0]["template"])));
        assert_eq!(marked["headGroupSpec"]["template"]["spec"]["containers"][1]["env"][0]["name"], "A");
        assert!(mark_templates(&mut json!({"spec": {}})).is_err());
    }
}
