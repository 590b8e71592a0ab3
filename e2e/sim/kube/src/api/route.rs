//! Routing: the resource and the verb of an HTTP path and method.

use http::Method;

use super::{Kind, Verb};

/// The resource that a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subresource: Option<String>,
}

impl Route {
    /// The route of a path; `None` if there is no such resource.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if rest.first().is_some_and(|part| !matches!(*part, "status" | "finalize")) =>
            {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", None),
            [plural, name] => (*plural, *name, None),
            [plural, name, subresource] => (*plural, *name, Some((*subresource).to_owned())),
            _ => return None,
        };
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)?;
        let placed =
            if kind.namespaced { name.is_empty() || !namespace.is_empty() } else { namespace.is_empty() };
        let there = match subresource.as_deref() {
            None => true,
            Some("status") => kind.has_status(),
            Some("scale") => kind == Kind::FLEET,
            Some(_) => false,
        };
        (placed && there).then(|| Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource,
        })
    }

    /// Whether a path belongs to an API group of which something is served. For others a real server
    /// answers in plain text.
    pub(super) fn group(path: &str, served: impl Fn(&Kind) -> bool) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version) = match parts.as_slice() {
            ["api", version, ..] => ("", *version),
            ["apis", group, version, ..] => (*group, *version),
            _ => return false,
        };
        Kind::ALL.iter().any(|kind| kind.group == group && kind.version == version && served(kind))
    }

    /// The verb of a method on this route.
    pub(super) fn verb(&self, method: &Method, watch: bool) -> Option<Verb> {
        let one = !self.name.is_empty();
        Some(match *method {
            Method::GET if watch => Verb::Watch,
            Method::GET if one => Verb::Get,
            Method::GET => Verb::List,
            Method::POST if !one && (!self.kind.namespaced || !self.namespace.is_empty()) => Verb::Create,
            Method::PUT if one => Verb::Update,
            Method::PATCH if one => Verb::Patch,
            Method::DELETE if one && self.subresource.is_none() => Verb::Delete,
            Method::DELETE if !one && (!self.kind.namespaced || !self.namespace.is_empty()) => {
                Verb::DeleteCollection
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<(Kind, String, String, Option<String>)> {
        Route::parse(path).map(|route| (route.kind, route.namespace, route.name, route.subresource))
    }

    #[test]
    fn paths_are_parsed() {
        let path = "/apis/orchestration.aibrix.ai/v1alpha1/namespaces/n/rayclusterfleets/f/scale";
        assert_eq!(route(path), Some((Kind::FLEET, "n".into(), "f".into(), Some("scale".into()))));
        assert_eq!(route("/api/v1/pods"), Some((Kind::POD, String::new(), String::new(), None)));
        assert_eq!(route("/api/v1/namespaces/n"), Some((Kind::NAMESPACE, String::new(), "n".into(), None)));
        let status = Some((Kind::NAMESPACE, String::new(), "n".into(), Some("status".into())));
        assert_eq!(route("/api/v1/namespaces/n/status"), status);
        assert_eq!(
            route("/apis/events.k8s.io/v1/namespaces/n/events").map(|route| route.0),
            Some(Kind::EVENTS_K8S)
        );
    }

    #[test]
    fn unknown_paths_have_no_route() {
        for path in
            ["/", "/api/v1/gadgets", "/api/v2/pods", "/api/v1/pods/p", "/api/v1/namespaces/n/pods/p/scale"]
        {
            assert_eq!(route(path), None, "{path}");
        }
    }

    #[test]
    fn methods_map_to_verbs() {
        let pods = Route::parse("/api/v1/namespaces/n/pods").unwrap();
        assert_eq!(pods.verb(&Method::GET, true), Some(Verb::Watch));
        assert_eq!(pods.verb(&Method::POST, false), Some(Verb::Create));
        assert_eq!(pods.verb(&Method::PUT, false), None);
        let everywhere = Route::parse("/api/v1/pods").unwrap();
        assert_eq!(everywhere.verb(&Method::GET, false), Some(Verb::List));
        assert_eq!(everywhere.verb(&Method::POST, false), None);
    }
}
