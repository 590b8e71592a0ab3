//! Builds a client from kubeconfig and flags. Makes no call to the API server.

use hyper_util::client::proxy::matcher::Matcher;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use rayfleet_cli_kit::CliError;

use crate::args::Global;
use crate::error;
use crate::fleets::Fleets;

/// A client for the API server of the flags, with the namespace to use.
pub(crate) async fn connect(global: &Global) -> Result<Fleets, CliError> {
    let mut config = load(global).await?;
    config.connect_timeout = Some(global.request_timeout);
    config.write_timeout = Some(global.request_timeout);
    let server = config.cluster_url.to_string();
    let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| error::api(&error, &server, &namespace, None))?;
    Ok(Fleets { client, namespace, server, timeout: global.request_timeout })
}

async fn load(global: &Global) -> Result<Config, CliError> {
    let read = match &global.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            // Without flags and without a file this may run in a pod.
            if global.kubeconfig.is_none()
                && global.context.is_none()
                && let Ok(config) = Config::incluster()
            {
                return Ok(config);
            }
            return Err(kubeconfig_fault(&error));
        }
    };
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    let own_proxy = has_own_proxy(&kubeconfig, global.context.as_deref());
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| kubeconfig_fault(&error))?;
    if !own_proxy {
        // The client's own handling of the environment matches NO_PROXY against the proxy's address.
        let proxy = Matcher::from_env().intercept(&config.cluster_url);
        config.proxy_url = proxy.map(|proxy| proxy.uri().clone());
    }
    Ok(config)
}

/// Whether the cluster of the context has a proxy of its own in the kubeconfig.
fn has_own_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> bool {
    let context = context.or(kubeconfig.current_context.as_deref());
    let cluster = kubeconfig
        .contexts
        .iter()
        .find(|named| Some(named.name.as_str()) == context)
        .and_then(|named| named.context.as_ref())
        .map(|context| context.cluster.as_str());
    kubeconfig
        .clusters
        .iter()
        .filter(|named| Some(named.name.as_str()) == cluster)
        .filter_map(|named| named.cluster.as_ref())
        .any(|cluster| cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()))
}

fn kubeconfig_fault(error: &KubeconfigError) -> CliError {
    let (message, cure) = match error {
        KubeconfigError::LoadContext(name) => {
            (format!("the kubeconfig has no context \"{name}\""), "list them: kubectl config get-contexts")
        }
        KubeconfigError::LoadClusterOfContext(name) => (
            format!("the kubeconfig's context names a cluster \"{name}\" that it does not have"),
            "see: kubectl config view",
        ),
        KubeconfigError::CurrentContextNotSet => (
            "the kubeconfig has no current context".to_owned(),
            "set one (kubectl config use-context NAME) or give --context",
        ),
        KubeconfigError::ReadConfig(error, path) => (
            format!("cannot read the kubeconfig {}: {error}", path.display()),
            "set $KUBECONFIG or give --kubeconfig",
        ),
        other => (format!("kubeconfig: {other}"), "set $KUBECONFIG or give --kubeconfig"),
    };
    CliError::usage(message, cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(proxy: &str) -> Kubeconfig {
        Kubeconfig::from_yaml(&format!(
            "apiVersion: v1
kind: Config
current-context: lab
contexts: [{{name: lab, context: {{cluster: one, user: me}}}}, {{name: far, context: {{cluster: two, user: me}}}}]
clusters:
- {{name: one, cluster: {{server: 'https://one:6443'}}}}
- {{name: two, cluster: {{server: 'https://two:6443', proxy-url: '{proxy}'}}}}
"
        ))
        .unwrap()
    }

    #[test]
    fn only_the_proxy_of_the_selected_cluster_counts() {
        assert!(!has_own_proxy(&kubeconfig("http://proxy:3128"), None));
        assert!(has_own_proxy(&kubeconfig("http://proxy:3128"), Some("far")));
        assert!(!has_own_proxy(&kubeconfig(""), Some("far")));
    }

    #[test]
    fn an_unknown_context_is_reported() {
        let fault = kubeconfig_fault(&KubeconfigError::LoadContext("nowhere".into()));
        assert_eq!(fault.code(), 2);
        insta::assert_snapshot!(fault.to_string(), @r#"
        error: the kubeconfig has no context "nowhere"
        cure:  list them: kubectl config get-contexts
        "#);
    }
}
