//! Lists: of the present state or of a version, whole or in pages.

use serde_json::{Value, json};

use super::page::Page;
use super::selector::Selector;
use super::store::{Key, Store};
use super::{Kind, Refusal, convert, fields, meta};

#[derive(Clone, Debug, Default)]
pub(super) struct ListOptions {
    pub(super) selector: Selector,
    pub(super) limit: usize,
    pub(super) token: String,
    /// `resourceVersion`; empty if there is none.
    pub(super) version: String,
    /// Exactly this version, not a newer one.
    pub(super) exact: bool,
    /// Metadata only.
    pub(super) partial: bool,
    /// A lagging answer: this many versions old.
    pub(super) behind: u64,
}

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Store {
    pub(super) fn list(&self, kind: &Kind, namespace: &str, options: &ListOptions) -> Result<Value, Refusal> {
        let page = if options.token.is_empty() { None } else { Some(Page::parse(&options.token)?) };
        let version = self.listed_version(kind, options, page.as_ref())?;
        let then = self.at(kind, version).map_err(|_| too_old(page.as_ref(), version))?;
        let after = page.map(|page| page.after);
        let mut chosen = then.iter().filter(|(key, object)| {
            (namespace.is_empty() || key.0 == namespace)
                && after.as_ref().is_none_or(|after| *key > after)
                && options.selector.matches(object)
        });
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let (mut items, mut last) = (Vec::new(), Key::default());
        for (key, object) in chosen.by_ref().take(limit) {
            items.push(item(kind, object, options.partial));
            last = key.clone();
        }
        let left = chosen.count();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if left > 0 {
            metadata["continue"] = json!(Page { version: Some(version), after: last }.token());
            if options.selector.selects_all() {
                metadata["remainingItemCount"] = json!(left);
            }
        }
        Ok(if options.partial {
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
        } else {
            json!({"kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": metadata, "items": items})
        })
    }

    fn listed_version(
        &self,
        kind: &Kind,
        options: &ListOptions,
        page: Option<&Page>,
    ) -> Result<u64, Refusal> {
        if let Some(page) = page {
            if !matches!(options.version.as_str(), "" | "0") {
                let words = "specifying resource version is not allowed when using continue";
                return Err(Refusal::bad_request(words));
            }
            return Ok(page.version.unwrap_or(self.version));
        }
        let asked = parse_version(&options.version)?;
        if asked > self.version {
            return Err(Refusal::too_large_version(asked, self.version));
        }
        Ok(if options.exact && asked > 0 {
            asked
        } else if options.behind > 0 {
            self.ago(kind, options.behind)
        } else {
            self.version
        })
    }
}

/// Parses a resource version; 0 if there is none.
pub(super) fn parse_version(text: &str) -> Result<u64, Refusal> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Refusal::bad_request(format!("Invalid value: \"{text}\": strconv.ParseUint: invalid syntax"))
    })
}

fn too_old(page: Option<&Page>, version: u64) -> Refusal {
    match page {
        Some(page) => {
            let resume = Page { version: None, after: page.after.clone() }.token();
            Refusal { resume: Some(resume), ..Refusal::expired(TOO_OLD) }
        }
        None => Refusal::expired(format!("The resourceVersion for the provided list is too old: {version}")),
    }
}

/// An object as a list item. Built-in kinds omit `kind` and `apiVersion` there.
fn item(kind: &Kind, object: &Value, partial: bool) -> Value {
    if partial {
        return meta::partial(object);
    }
    let mut item = convert::outward(kind, object).into_owned();
    if !kind.custom() {
        let members = fields::members(&mut item);
        members.remove("kind");
        members.remove("apiVersion");
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::clock::Clock;

    fn store() -> Store {
        let mut store = Store::new(Clock::start());
        for name in ["a", "b", "c", "d", "e"] {
            let metadata =
                json!({"namespace": "n", "name": name, "labels": {"odd": (name != "b").to_string()}});
            store.put(&Kind::POD, json!({"kind": "Pod", "metadata": metadata}));
        }
        store
    }

    fn names(list: &Value) -> Vec<&str> {
        fields::list(list, "/items").iter().map(fields::name).collect()
    }

    fn options(token: &str) -> ListOptions {
        ListOptions { limit: 2, token: token.to_owned(), ..ListOptions::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_of_a_list_have_one_version() {
        let mut store = store();
        let first = store.list(&Kind::POD, "", &options("")).unwrap();
        assert_eq!(names(&first), ["a", "b"]);
        assert_eq!(first["metadata"]["remainingItemCount"], 3);
        store.drop(&Kind::POD, "n", "c");
        let token = fields::text(&first, "/metadata/continue").to_owned();
        let second = store.list(&Kind::POD, "", &options(&token)).unwrap();
        assert_eq!(names(&second), ["c", "d"]);
        assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        let token = fields::text(&second, "/metadata/continue");
        let third = store.list(&Kind::POD, "", &options(token)).unwrap();
        assert_eq!((names(&third), third["metadata"].get("continue")), (vec!["e"], None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_continue_token_comes_with_one_that_continues() {
        let mut store = store();
        let first = store.list(&Kind::POD, "", &options("")).unwrap();
        store.drop(&Kind::POD, "n", "c");
        store.drop(&Kind::POD, "n", "a");
        store.compact(0);
        let refusal =
            store.list(&Kind::POD, "", &options(fields::text(&first, "/metadata/continue"))).unwrap_err();
        assert_eq!((refusal.code, refusal.reason.as_str()), (410, "Expired"));
        let on = store.list(&Kind::POD, "", &options(refusal.resume.as_deref().unwrap())).unwrap();
        assert_eq!(names(&on), ["d", "e"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lagging_list_has_an_old_state_with_its_version() {
        let mut store = store();
        let before = store.version;
        store.drop(&Kind::POD, "n", "a");
        let stale = ListOptions { behind: 1, ..ListOptions::default() };
        let list = store.list(&Kind::POD, "n", &stale).unwrap();
        assert_eq!(names(&list).len(), 5);
        assert_eq!(list["metadata"]["resourceVersion"], before.to_string());
        let fresh = store.list(&Kind::POD, "n", &ListOptions::default()).unwrap();
        assert_eq!(names(&fresh).len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn future_and_compacted_versions_are_refused() {
        let mut store = store();
        let at = |version: u64, exact: bool| ListOptions {
            version: version.to_string(),
            exact,
            ..ListOptions::default()
        };
        assert_eq!(store.list(&Kind::POD, "", &at(99, false)).unwrap_err().code, 504);
        assert_eq!(names(&store.list(&Kind::POD, "", &at(2, true)).unwrap()), ["a"]);
        assert_eq!(names(&store.list(&Kind::POD, "", &at(2, false)).unwrap()).len(), 5);
        store.compact(1);
        assert_eq!(store.list(&Kind::POD, "", &at(2, true)).unwrap_err().code, 410);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_honours_selectors_and_metadata_only() {
        let selector = Selector::parse(&Kind::POD, "odd=false", "").unwrap();
        let options = ListOptions { selector, partial: true, ..ListOptions::default() };
        let list = store().list(&Kind::POD, "n", &options).unwrap();
        assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
        assert_eq!(names(&list), ["b"]);
    }
}
