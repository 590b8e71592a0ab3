//! From the bytes of a manifest to its objects, with the line and column of every field. Reading is bounded: whatever the bytes are, the
//! answer is objects or one error with its place. What the objects say is other modules' business.
//!
//! Scalars are read as kubectl reads them: YAML 1.1 as sigs.k8s.io/yaml has it (`resolve` in its goyaml.v2/resolve.go), written as JSON.

use rayfleet_text::cut;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use crate::node::{Kind, Node};
use crate::place::Place;
use crate::plain::plain;

/// Largest manifest that is read, in bytes.
pub const LARGEST: usize = 4 << 20;
/// Most bytes of texts, once aliases are put in, so that a small manifest does not become a large one.
const MOST_TEXT: usize = LARGEST;
/// Most fields, entries and texts, once aliases are put in.
const MOST_NODES: usize = 200_000;
/// Most levels of nesting. A fleet has some twenty; each takes some 40 KiB of stack without optimization.
const DEEPEST: usize = 36;
/// Most documents.
const MOST_DOCUMENTS: usize = 500;
/// Most objects: each Service is compared with each fleet.
const MOST_OBJECTS: usize = 1_000;
/// Bytes of a parser's error that are kept: it may repeat what it was given.
const LONGEST_ERROR: usize = 300;

/// Why a manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", .at.map(|at| format!("{at}: ")).unwrap_or_default())]
pub struct Unreadable {
    /// Where, if that is known.
    pub at: Option<Place>,
    /// What is wrong.
    pub problem: String,
}

/// An object of Kubernetes in a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Number of its file among those that are read together, from 0 on.
    pub file: usize,
    /// Number of its document, from 1 on; documents with nothing in them do not count.
    pub document: usize,
    /// With all places.
    pub node: Node,
    /// The same without places. Of a key that is written twice the last one counts, as in Go's readers of JSON.
    pub value: Value,
}

/// The objects of a manifest, in their order. The items of a `List` are objects of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The objects.
    pub objects: Vec<Object>,
    /// Number of its files.
    pub files: usize,
}

impl Manifest {
    /// Takes over the objects of another one as those of a further file.
    pub(crate) fn append(&mut self, other: Self) {
        let first = self.files;
        self.files += other.files;
        self.objects
            .extend(other.objects.into_iter().map(|object| Object { file: first + object.file, ..object }));
    }
}

impl Object {
    /// `apiVersion`, or nothing.
    pub fn api_version(&self) -> &str {
        self.value["apiVersion"].as_str().unwrap_or_default()
    }

    /// `kind`, or nothing.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// Name, or nothing.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Namespace, or nothing where the command line decides.
    pub fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// Whether it is of this kind in this API group, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        let of = self.api_version().split_once('/').map_or("", |(group, _)| group);
        of == group && self.kind() == kind
    }

    /// Where a field is, by its path from the object on, such as `spec.model.port` or `spec.template.spec.workerGroupSpecs[0]`; of one
    /// that is not there, where the nearest object around it is.
    pub fn place(&self, path: &str) -> Place {
        crate::path::of(&self.node, path)
    }
}

/// Reads YAML documents or JSON.
///
/// # Errors
/// For bytes that are not such a manifest, or more of it than the bounds allow.
pub fn read(bytes: &[u8]) -> Result<Manifest, Unreadable> {
    let documents = documents(bytes, DuplicateKeyPolicy::PassThrough)?;
    let mut objects = Vec::new();
    for (number, node) in documents.into_iter().enumerate() {
        push_objects(number + 1, node, &mut objects);
    }
    if objects.len() > MOST_OBJECTS {
        let problem = format!(
            "has {} objects, at most {MOST_OBJECTS} are read: give fewer files at a time",
            objects.len()
        );
        return Err(Unreadable { at: None, problem });
    }
    Ok(Manifest { objects, files: 1 })
}

/// The objects of a manifest alone, for whoever sends them on: as [`read`], but a key that is written twice is an error, too.
///
/// # Errors
/// As [`read`], and for such a key.
pub fn objects(bytes: &[u8]) -> Result<Vec<Value>, Unreadable> {
    let mut objects = Vec::new();
    for node in documents(bytes, DuplicateKeyPolicy::Error)? {
        push_objects(0, node, &mut objects);
    }
    Ok(objects.into_iter().map(|object| object.value).collect())
}

fn documents(bytes: &[u8], duplicates: DuplicateKeyPolicy) -> Result<Vec<Node>, Unreadable> {
    if bytes.len() > LARGEST {
        let problem =
            format!("has {} bytes, at most {LARGEST} are read: give the fleets' own manifest", bytes.len());
        return Err(Unreadable { at: None, problem });
    }
    let text = str::from_utf8(bytes).map_err(|error| Unreadable {
        at: Some(Place::at_byte(bytes, error.valid_up_to())),
        problem: "is not UTF-8: save it as UTF-8".to_owned(),
    })?;
    if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
        let problem = "has a NUL byte, which no YAML and no JSON may have".to_owned();
        return Err(Unreadable { at: Some(Place::at_byte(bytes, nul)), problem });
    }
    let mut documents: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options(duplicates))
        .map_err(|error| {
            let at = error.location().map(|at| Place::new(at.line(), at.column()));
            // The parser's own words name the line once more.
            Unreadable {
                at,
                problem: format!("is no YAML: {}", plain(&cut(&error.to_string(), LONGEST_ERROR))),
            }
        })?;
    documents.iter_mut().try_for_each(|node| settle(node, text))?;
    Ok(documents)
}

/// Takes what is too large for a float as text, as kubectl does; infinities and what is no number are refused, as there.
fn settle(node: &mut Node, text: &str) -> Result<(), Unreadable> {
    match &mut node.kind {
        Kind::Scalar(_) => Ok(()),
        Kind::List(items) => items.iter_mut().try_for_each(|item| settle(item, text)),
        Kind::Object(fields) => fields.iter_mut().try_for_each(|field| settle(&mut field.node, text)),
        Kind::Beyond(range) => {
            let written = text.get(range.clone()).unwrap_or_default().trim();
            let unsigned = written.trim_start_matches(['+', '-']).trim_start_matches('.');
            if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
                let problem = "has a number that JSON does not have: put it into quotes".to_owned();
                return Err(Unreadable { at: Some(node.at), problem });
            }
            node.kind = Kind::Scalar(Value::from(written));
            Ok(())
        }
    }
}

fn options(duplicates: DuplicateKeyPolicy) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(LARGEST),
            max_documents: MOST_DOCUMENTS,
            max_depth: DEEPEST,
            max_nodes: MOST_NODES,
            max_events: 2 * MOST_NODES,
            max_total_scalar_bytes: MOST_TEXT,
            max_recorded_anchor_bytes: MOST_TEXT,
            max_recorded_anchor_events: 2 * MOST_NODES,
        },
        duplicate_keys: duplicates,
        // As kubectl reads `defaultMode: 0644`.
        legacy_octal_numbers: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_NODES,
        },
        with_snippet: false,
    }
}

/// An object, or the items of a list of them.
fn push_objects(document: usize, node: Node, objects: &mut Vec<Object>) {
    let value = node.value();
    let is_list =
        value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array();
    if !is_list {
        objects.push(Object { file: 0, document, node, value });
        return;
    }
    let Kind::Object(fields) = node.kind else { return };
    let items = fields.into_iter().rfind(|field| field.key == "items").map(|field| field.node.kind);
    let Some(Kind::List(items)) = items else { return };
    objects.extend(items.into_iter().map(|node| Object { file: 0, document, value: node.value(), node }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Object {
        read(text.as_bytes()).unwrap().objects.remove(0)
    }

    #[test]
    fn every_field_has_its_place() {
        let object = one("# head\nkind: Pod\nspec:\n  a.b/c: [x, {y: 1}]\n  d: &e {f: 2}\n  g: *e\n");
        for (path, place) in [
            ("kind", (2, 1)),
            ("spec", (3, 1)),
            ("spec.a.b/c", (4, 3)),
            ("spec[a.b/c][1].y", (4, 15)),
            ("spec.a.b/c[1].none.at.all", (4, 14)),
            ("spec.d.f", (5, 10)),
            ("spec.g.f", (5, 10)),
            ("spec.none", (3, 1)),
            ("none", (2, 1)),
            ("", (2, 1)),
        ] {
            assert_eq!(object.place(path), Place::new(place.0, place.1), "{path}");
        }
        assert_eq!(
            object.value,
            json!({"kind": "Pod", "spec": {"a.b/c": ["x", {"y": 1}], "d": {"f": 2}, "g": {"f": 2}}})
        );
    }

    #[test]
    fn of_two_names_that_fit_a_path_the_longer_one_counts() {
        let object = one("spec:\n  a: {b: 1}\n  a.b: 2\n  a.b.c: 3\n");
        for (path, line) in [("spec.a.b", 3), ("spec.a.b.c", 4), ("spec.a", 2), ("spec.ab", 1)] {
            assert_eq!(object.place(path).line, line, "{path}");
        }
    }

    #[test]
    fn documents_lists_and_json_give_objects() {
        let manifest =
            read(b"---\n---\nkind: A\n---\nkind: BList\nitems: [{kind: B, n: 1}, {kind: C}]\n").unwrap();
        let kinds: Vec<_> = manifest.objects.iter().map(|object| (object.document, object.kind())).collect();
        assert_eq!(kinds, [(1, "A"), (2, "B"), (2, "C")]);
        let object = one("{\"kind\": \"A\",\n \"spec\": {\"replicas\": 2}}");
        assert_eq!(
            (object.value["spec"]["replicas"].as_u64(), object.place("spec.replicas").line),
            (Some(2), 2)
        );
    }

    #[test]
    fn what_is_no_manifest_is_an_error_with_its_place() {
        for (bytes, at, part) in [
            (b"a: [\n".as_slice(), true, "is no YAML"),
            (b"a: 1\n\xff\xfe", true, "is not UTF-8"),
            (b"a: \"\0\"", true, "has a NUL byte"),
            (b"a: *b\n", true, "is no YAML"),
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.at.is_some(), at, "{error}");
            assert!(error.problem.contains(part), "{error}");
        }
        assert_eq!(read(b"a: 1\n\xff").unwrap_err().at, Some(Place::new(2, 1)));
        let large = vec![b' '; LARGEST + 1];
        assert!(read(&large).unwrap_err().problem.starts_with("has 4194305 bytes"));
    }

    #[test]
    fn a_small_manifest_never_becomes_a_large_one() {
        let laughs = (1..20).fold("a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let before = n - 1;
            text + &format!(
                "a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n"
            )
        });
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 90].join(", "));
        let deep = format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
        let blocks = (0..900).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
        let keys: String =
            (0..1_000).fold(String::new(), |text, n| text + &format!("k{n}{}: 1, ", "x".repeat(900)));
        let merged = format!("a: &a {{{keys}}}\nb: [{}]\n", vec!["{<<: *a}"; 500].join(", "));
        let many = "---\na: 1\n".repeat(2_000);
        let wide = format!("a: [{}]", "1,".repeat(1 << 20));
        let list = format!("kind: List\nitems: [{}]", "{},".repeat(2_000));
        for (what, text) in [
            ("laughs", laughs),
            ("long", long),
            ("deep", deep),
            ("blocks", blocks),
            ("merged", merged),
            ("many", many),
            ("wide", wide),
            ("list", list),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.problem.len() < 400, "{what}: {error}");
        }
    }
}
