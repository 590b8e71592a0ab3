//! The call of `--from-cluster` to the API server. Nothing is judged here but whether a node has GPUs at all.

use kube::api::ListParams;
use kube::core::Request;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

use super::NodeKind;
use super::open::kinds_of;
use crate::fleets::Fleets;
use crate::plan::node;
use crate::template::site::Site;
use rayfleet_templates::Catalogue;

/// Longest part of an error of the API server, in bytes.
const LONGEST: usize = 512;

/// The GPUs of all nodes, with whether they take pods of a site. Each node is cut down to that when it is read.
pub(in crate::template) async fn nodes(
    fleets: &Fleets,
    catalogue: &Catalogue,
    site: &Site,
) -> Result<Vec<NodeKind>, CliError> {
    let path = Request::new("/api/v1/nodes");
    let read = |text: &str| node(text).map(|node| kinds_of(&node, catalogue, site));
    let nodes = fleets.all(&path, ListParams::default(), "nodes", read).await.map_err(unread)?;
    Ok(nodes.into_iter().flatten().collect())
}

/// What else the reader can do.
fn unread(fault: CliError) -> CliError {
    let without = "name the GPU with --gpu in place of --from-cluster";
    let cure = fault.cure.map_or_else(|| without.to_owned(), |cure| format!("{cure}; or {without}"));
    CliError { message: cut(&one_line(&fault.message), LONGEST), cure: Some(cure), ..fault }
}
