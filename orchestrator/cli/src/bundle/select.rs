//! What a call asks for: its path and query, and which objects its selectors take. Pure.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector, SelectorExt};
use serde_json::Value;
use url::form_urlencoded;

/// Parameters of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// These parameters alone, in one spelling.
    pub(super) fn only(&self, names: &[&str]) -> String {
        self.spelled(|name| names.contains(&name))
    }

    /// All but these, in one spelling.
    pub(super) fn without(&self, names: &[&str]) -> String {
        self.spelled(|name| !names.contains(&name))
    }

    fn spelled(&self, wants: impl Fn(&str) -> bool) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(self.0.iter().filter(|(name, value)| wants(name) && !value.is_empty()));
        text.finish()
    }
}

/// Names of the parameters that select objects.
pub(super) const SELECTORS: [&str; 2] = ["labelSelector", "fieldSelector"];

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route<'p> {
    /// The kind, as the path of all its objects: `/api/v1/pods`.
    pub(super) collection: String,
    pub(super) namespace: Option<&'p str>,
    pub(super) name: Option<&'p str>,
    /// What follows the name.
    pub(super) below: Option<&'p str>,
}

impl<'p> Route<'p> {
    /// `None` for a path that leads to no kind.
    pub(super) fn parse(path: &'p str) -> Option<Self> {
        let (base, rest) = if let Some(rest) = path.strip_prefix("/api/v1/") {
            ("/api/v1".to_owned(), rest)
        } else {
            let mut parts = path.strip_prefix("/apis/")?.splitn(3, '/');
            let (group, version) = (parts.next()?, parts.next()?);
            (format!("/apis/{group}/{version}"), parts.next()?)
        };
        let mut parts = rest.splitn(5, '/');
        let (mut plural, mut namespace) = (parts.next()?, None);
        let mut name = parts.next();
        let mut below = parts.next();
        if let ("namespaces", Some(of), Some(kind)) = (plural, name, below) {
            (namespace, plural, name, below) = (Some(of), kind, parts.next(), parts.next());
        }
        let named = |part: Option<&str>| part.is_none_or(|part| !part.is_empty());
        let whole = !plural.is_empty() && named(namespace) && named(name);
        whole.then(|| Self { collection: format!("{base}/{plural}"), namespace, name, below })
    }
}

/// Which objects are taken.
#[derive(Debug, Default)]
pub(super) struct Selection {
    labels: Selector,
    fields: Vec<(String, bool, String)>,
}

impl Selection {
    /// The selectors of a query, or what is wrong with them.
    pub(super) fn of(query: &Query) -> Result<Self, String> {
        Ok(Self {
            labels: labels(query.get("labelSelector").unwrap_or_default())?,
            fields: fields(query.get("fieldSelector").unwrap_or_default())?,
        })
    }

    /// Whether an object is taken.
    pub(super) fn takes(&self, object: &Value) -> bool {
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        let labels: BTreeMap<String, String> =
            labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        self.labels.matches(&labels)
            && self.fields.iter().all(|(field, equal, wanted)| {
                let pointer = format!("/{}", field.replace('.', "/"));
                let value = match object.pointer(&pointer) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Bool(flag)) => flag.to_string(),
                    _ if field == "spec.unschedulable" => "false".to_owned(),
                    _ => String::new(),
                };
                (value == *wanted) == *equal
            })
    }
}

fn labels(text: &str) -> Result<Selector, String> {
    let wrong = || format!("unable to parse requirement: {text}");
    let all = outside_brackets(text).into_iter().map(|part| {
        let part = part.trim();
        let trimmed = |text: &str| text.trim().to_owned();
        if let Some((head, values)) = part.split_once('(') {
            let values = values.strip_suffix(')').ok_or_else(wrong)?.split(',').map(trimmed).collect();
            let mut words = head.split_whitespace();
            return match (words.next(), words.next(), words.next()) {
                (Some(key), Some("in"), None) => Ok(Expression::In(key.to_owned(), values)),
                (Some(key), Some("notin"), None) => Ok(Expression::NotIn(key.to_owned(), values)),
                _ => Err(wrong()),
            };
        }
        Ok(if let Some((key, value)) = part.split_once("!=") {
            Expression::NotEqual(trimmed(key), trimmed(value))
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            Expression::Equal(trimmed(key), trimmed(value))
        } else if let Some(key) = part.strip_prefix('!') {
            Expression::DoesNotExist(trimmed(key))
        } else if part.contains([' ', ')']) {
            return Err(wrong());
        } else {
            Expression::Exists(part.to_owned())
        })
    });
    all.collect::<Result<Vec<_>, String>>().map(Selector::from_iter)
}

fn outside_brackets(text: &str) -> Vec<String> {
    let (mut parts, mut inside) = (vec![String::new()], false);
    for letter in text.chars() {
        inside = (inside || letter == '(') && letter != ')';
        if letter == ',' && !inside {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn fields(text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let all = parts.map(|part| {
        let (key, equal, value) = if let Some((key, value)) = part.split_once("!=") {
            (key, false, value)
        } else {
            let (key, value) = part
                .split_once("==")
                .or_else(|| part.split_once('='))
                .ok_or_else(|| format!("invalid field selector: {part}"))?;
            (key, true, value)
        };
        Ok((key.trim().to_owned(), equal, value.trim().to_owned()))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_a_kind() {
        let route = |path| Route::parse(path).map(|it| (it.collection, it.namespace, it.name, it.below));
        let of = |text: &str| text.to_owned();
        assert_eq!(route("/api/v1/pods"), Some((of("/api/v1/pods"), None, None, None)));
        assert_eq!(
            route("/api/v1/namespaces/a/pods/p/log"),
            Some((of("/api/v1/pods"), Some("a"), Some("p"), Some("log")))
        );
        assert_eq!(
            route("/api/v1/namespaces/a/pods/p:1/proxy/b/c"),
            Some((of("/api/v1/pods"), Some("a"), Some("p:1"), Some("proxy/b/c")))
        );
        assert_eq!(
            route("/apis/ray.io/v1/namespaces/a/rayclusters"),
            Some((of("/apis/ray.io/v1/rayclusters"), Some("a"), None, None))
        );
        assert_eq!(route("/api/v1/nodes/n"), Some((of("/api/v1/nodes"), None, Some("n"), None)));
        assert_eq!(route("/api/v1/namespaces/a"), Some((of("/api/v1/namespaces"), None, Some("a"), None)));
        for odd in ["", "/", "/version", "/apis/ray.io", "/api/v1/", "/api/v1/namespaces//pods"] {
            assert_eq!(route(odd), None, "{odd}");
        }
    }

    #[test]
    fn selectors_take_what_the_api_server_takes() {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "x", "tier": "b", "odd": 7}}, "type": "Warning"});
        let takes = |labels: &str, fields: &str| {
            let query = Query(
                [("labelSelector", labels), ("fieldSelector", fields)]
                    .map(|(a, b)| (a.into(), b.into()))
                    .into(),
            );
            Selection::of(&query).map(|selection| selection.takes(&object))
        };
        for yes in
            ["", "app", "app=x", "app==x", "app!=y", "!none", "none!=x", "app in (x, y),tier notin (c)"]
        {
            assert_eq!(takes(yes, ""), Ok(true), "{yes}");
        }
        for no in ["app=y", "none", "!app", "odd", "app in (y)", "app=x,tier=c"] {
            assert_eq!(takes(no, ""), Ok(false), "{no}");
        }
        assert_eq!(takes("", "metadata.name=a,type!=Normal"), Ok(true));
        assert_eq!(takes("", "metadata.name==b"), Ok(false));
        for odd in ["app in x)", "app of (x)", "app in (x"] {
            assert!(takes(odd, "").is_err(), "{odd}");
        }
        assert!(takes("", "metadata.name").is_err());
    }

    #[test]
    fn a_query_has_one_spelling() {
        let query = Query::parse("b=2&a=x%3Dy&lines=5&c=");
        assert_eq!(query.without(&["lines"]), "a=x%3Dy&b=2");
        assert_eq!(query.only(&["lines"]), "lines=5");
        assert_eq!(query.number("lines"), Some(5));
    }
}
