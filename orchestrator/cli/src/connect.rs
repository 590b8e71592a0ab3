//! Builds a client from kubeconfig and flags. Makes no call to the API server.

use hyper_util::client::proxy::matcher::Matcher;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use rayfleet_cli_kit::CliError;

use crate::fleets::Fleets;
use crate::global::Global;
use crate::{bundle, error};

/// A client for the API server of the flags, or for the bundle, with the namespace to use.
pub(crate) async fn connect(global: &Global) -> Result<Fleets, CliError> {
    if let Some(file) = &global.from {
        return bundle::open(file, global.namespace.as_deref(), global.request_timeout);
    }
    let mut config = load(global).await?;
    config.accept_invalid_certs |= global.insecure_skip_tls_verify;
    impersonate(&mut config, global)?;
    config.connect_timeout = Some(global.request_timeout);
    config.write_timeout = Some(global.request_timeout);
    // An engine that is down is a 503 of its proxy: asked again and again, its words would be lost in a time-out.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| error::api(&error, &server, &namespace, None))?;
    Ok(Fleets { client, namespace, server, timeout: global.request_timeout, recorded: false, moment: None })
}

async fn load(global: &Global) -> Result<Config, CliError> {
    let read = match &global.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            let named = [&global.context, &global.cluster, &global.user];
            if global.kubeconfig.is_none() && named.iter().all(|name| name.is_none()) {
                if let Some(server) = &global.server {
                    return Ok(reached_by(Config::new(server.clone())));
                }
                // Without flags and without a file this may run in a pod.
                if let Ok(config) = Config::incluster() {
                    return Ok(config);
                }
            }
            return Err(kubeconfig_fault(&error));
        }
    };
    is_known(&kubeconfig, global)?;
    let options = KubeConfigOptions {
        context: global.context.clone(),
        cluster: global.cluster.clone(),
        user: global.user.clone(),
    };
    let own_proxy = has_own_proxy(&kubeconfig, global.context.as_deref(), global.cluster.as_deref());
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| kubeconfig_fault(&error))?;
    if let Some(server) = &global.server {
        config.cluster_url = server.clone();
    }
    Ok(if own_proxy { config } else { reached_by(config) })
}

/// An unknown user would be nobody, and a cluster that is none the context's fault.
fn is_known(kubeconfig: &Kubeconfig, global: &Global) -> Result<(), CliError> {
    let users = kubeconfig.auth_infos.iter().map(|named| &named.name).collect();
    let clusters = kubeconfig.clusters.iter().map(|named| &named.name).collect();
    for (kind, wanted, known) in [("user", &global.user, users), ("cluster", &global.cluster, clusters)] {
        let known: Vec<&String> = known;
        if let Some(name) = wanted.as_ref().filter(|name| !known.contains(name)) {
            return Err(CliError::usage(
                format!("the kubeconfig has no {kind} \"{name}\""),
                format!("list them: kubectl config get-{kind}s"),
            ));
        }
    }
    Ok(())
}

/// With the proxy of the environment, if there is one for this server.
fn reached_by(mut config: Config) -> Config {
    // The client's own handling of the environment matches NO_PROXY against the proxy's address.
    let proxy = Matcher::from_env().intercept(&config.cluster_url);
    config.proxy_url = proxy.map(|proxy| proxy.uri().clone());
    config
}

/// Acts as somebody else, as the flags say; they count before the kubeconfig.
fn impersonate(config: &mut Config, global: &Global) -> Result<(), CliError> {
    if let Some(name) = &global.act_as {
        config.auth_info.impersonate = Some(name.clone());
        (config.auth_info.impersonate_uid, config.auth_info.impersonate_groups) = (None, None);
    }
    if global.as_group.is_empty() {
        return Ok(());
    }
    if config.auth_info.impersonate.is_none() {
        return Err(CliError::usage(
            "--as-group: the API server takes groups only together with a user",
            "name the user as well: --as NAME",
        ));
    }
    config.auth_info.impersonate_groups = Some(global.as_group.clone());
    Ok(())
}

/// Whether the cluster, that of the context unless it is named, has a proxy of its own in the kubeconfig.
fn has_own_proxy(kubeconfig: &Kubeconfig, context: Option<&str>, cluster: Option<&str>) -> bool {
    let context = context.or(kubeconfig.current_context.as_deref());
    let of_context = kubeconfig
        .contexts
        .iter()
        .find(|named| Some(named.name.as_str()) == context)
        .and_then(|named| named.context.as_ref())
        .map(|context| context.cluster.as_str());
    let cluster = cluster.or(of_context);
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
        let proxy = kubeconfig("http://proxy:3128");
        assert!(!has_own_proxy(&proxy, None, None));
        assert!(has_own_proxy(&proxy, Some("far"), None));
        assert!(has_own_proxy(&proxy, None, Some("two")));
        assert!(!has_own_proxy(&proxy, Some("far"), Some("one")));
        assert!(!has_own_proxy(&kubeconfig(""), Some("far"), None));
    }

    #[tokio::test]
    async fn flags_of_the_connection_reach_the_api_server() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}/", listener.local_addr().unwrap());
        let global = Global {
            server: Some(server.parse().unwrap()),
            act_as: Some("jane".into()),
            as_group: vec!["dev".into(), "ops".into()],
            request_timeout: std::time::Duration::from_secs(10),
            kubeconfig: Some(file("http://unused:3128")),
            ..Global::default()
        };
        let fleets = connect(&global).await.unwrap();
        assert_eq!(fleets.server, server);
        let asked = tokio::spawn(async move { fleets.get("llama").await.map(|_| ()) });
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = tokio::io::AsyncReadExt::read(&mut socket, &mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
        for header in ["impersonate-user: jane", "impersonate-group: dev", "impersonate-group: ops"] {
            assert!(request.contains(header), "{header} in {request}");
        }
        asked.abort();
    }

    #[tokio::test]
    async fn a_user_or_cluster_that_is_not_there_is_named() {
        for (flag, wanted) in [("user", "get-users"), ("cluster", "get-clusters")] {
            let mut global = Global { kubeconfig: Some(file("")), ..Global::default() };
            *(if flag == "user" { &mut global.user } else { &mut global.cluster }) = Some("none".into());
            let Err(fault) = connect(&global).await else { panic!("taken") };
            let text = fault.to_string();
            assert!(text.contains(&format!("no {flag} \"none\"")) && text.contains(wanted), "{text}");
        }
    }

    #[tokio::test]
    async fn a_group_without_a_user_is_refused() {
        let global = Global {
            as_group: vec!["dev".into()],
            kubeconfig: Some(file("http://unused:3128")),
            ..Global::default()
        };
        let Err(fault) = connect(&global).await else { panic!("taken") };
        assert!(fault.code() == 2 && fault.to_string().contains("--as NAME"), "{fault}");
    }

    /// A kubeconfig as a file.
    fn file(proxy: &str) -> std::path::PathBuf {
        let name = format!("rayfleet-connect-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, serde_saphyr::to_string(&kubeconfig(proxy)).unwrap()).unwrap();
        path
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
