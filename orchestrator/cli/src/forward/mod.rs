//! `kubectl rayfleet port-forward`: local ports that lead to the engine of a group that takes traffic, also when groups
//! change.
//!
//! `target` decides which group, `choice` follows the fleet, `dial` reaches heads, `serve` accepts connections and
//! `pipe` is one of them.

pub(crate) mod args;
mod choice;
mod dial;
mod pipe;
mod serve;
mod target;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use futures::future::join_all;
use rayfleet_cli_kit::{CliError, Terminal};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::fleets::Fleets;
use args::ForwardArgs;
use choice::Choice;
use dial::{ApiServer, Dial};
use serve::Service;

pub(crate) async fn run(args: &ForwardArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    tokio::select! {
        fault = forward(args, fleets, terminal, ApiServer::new(fleets)) => fault,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Forwards until the fleet is gone.
async fn forward<D: Dial>(
    args: &ForwardArgs,
    fleets: &Fleets,
    terminal: &Terminal,
    dial: D,
) -> Result<(), CliError> {
    let object = fleets.get(&args.fleet).await?;
    let engine = target::engine_port(&object);
    let Some(port) = args.ports.remote.or(engine) else {
        return Err(CliError::usage(
            format!("fleet \"{}\": its spec has no port of an engine", args.fleet),
            format!("name one: kubectl rayfleet port-forward {} 8000:8000", args.fleet),
        ));
    };
    let (tell, mut notes) = mpsc::unbounded_channel();
    let (choice, first) = Choice::first(dial.clone(), &object, args.group.as_deref(), tell.clone()).await?;
    let listeners = listen(args, args.ports.local.unwrap_or(port)).await?;
    for listener in &listeners {
        let here = listener.local_addr().map_err(|error| CliError::plain(error.to_string()))?;
        terminal.print(&format!("Forwarding from {here} to port {port} of {}\n", first.group))?;
        if !here.ip().is_loopback() {
            terminal.progress(&format!("warning: whoever reaches {here} reaches the engine"));
        }
    }
    let (broken, reports) = mpsc::unbounded_channel();
    let chosen = choice.chosen();
    let patience = fleets.timeout;
    let service = Service { dial, port, chosen, broken, notes: tell, patience, room: serve::room() };
    let write = async {
        while let Some(note) = notes.recv().await {
            terminal.progress(&note);
        }
    };
    tokio::select! {
        fault = choice.follow(fleets, reports) => Err(fault),
        _ = join_all(listeners.iter().map(|listener| service.accept(listener))) => Ok(()),
        () = write => Ok(()),
    }
}

/// Listens on all addresses; with a local port of 0 on the same one for all of them.
async fn listen(args: &ForwardArgs, port: u16) -> Result<Vec<TcpListener>, CliError> {
    let (mut listeners, mut port, mut refused) = (Vec::new(), port, None);
    for (ip, needed) in args.address.iter().flat_map(|address| address.all()) {
        match TcpListener::bind(SocketAddr::new(ip, port)).await {
            Ok(listener) => {
                port = listener.local_addr().map_or(port, |address| address.port());
                listeners.push(listener);
            }
            Err(error) if needed => return Err(taken(args, ip, port, &error)),
            Err(error) => refused = refused.or(Some((ip, error))),
        }
    }
    match refused {
        Some((ip, error)) if listeners.is_empty() => Err(taken(args, ip, port, &error)),
        _ => Ok(listeners),
    }
}

fn taken(args: &ForwardArgs, ip: IpAddr, port: u16, error: &std::io::Error) -> CliError {
    CliError::failed(
        format!("cannot listen on {}: {error}", SocketAddr::new(ip, port)),
        format!("choose another port, 0 for any free one: kubectl rayfleet port-forward {} 0", args.fleet),
    )
}
