//! From the sources to a stack on the emulator.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::types::{
    CreateGlobalSecondaryIndexAction, DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate,
    PointInTimeRecoverySpecification, TimeToLiveSpecification,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, process::Command};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    provider::Played,
    python,
    stack::{Connections, LOCAL_REGION, Resources},
    wallet::Wallet,
};

/// The name of the stack on the emulator.
pub(crate) const STACK_NAME: &str = "verification-callbacks";

/// A line of what cargo prints with `--message-format json`, as far as it is of interest.
#[derive(Deserialize)]
struct CargoMessage {
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
}

/// Builds every function, and returns the binaries by the names of their folders in functions/.
///
/// Builds the whole workspace's binaries, not single packages: cargo would choose other features of what they depend on, and compile
/// all of that again.
pub(crate) async fn build_functions(root: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut cargo = Command::new("cargo")
        .args(["build", "--bins", "--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("failed to run cargo")?;
    let mut messages = String::new();
    if let Some(stdout) = &mut cargo.stdout {
        stdout.read_to_string(&mut messages).await.context("failed to read what cargo says")?;
    }
    if !cargo.wait().await.context("failed to wait for cargo")?.success() {
        bail!("failed to build the functions: cargo says why above");
    }
    let functions = root.join("functions");
    let binaries = messages.lines().filter_map(|line| {
        let message: CargoMessage = serde_json::from_str(line).ok()?;
        let folder = message.manifest_path?.parent()?.strip_prefix(&functions).ok()?.to_str()?.to_owned();
        Some((folder, message.executable?))
    });
    Ok(binaries.collect())
}

/// Lays out what `sam deploy` takes: the template as it is, and beside it, where it says `CodeUri: functions/NAME`, each function's
/// `bootstrap`, packed, in place of its sources.
///
/// A package that is newer than its binary stays. SAM packs folders itself, but slowly, and all of them at every start.
pub(crate) fn lay_out(root: &Path, binaries: &BTreeMap<String, PathBuf>, folder: &Path) -> anyhow::Result<PathBuf> {
    let app = folder.join("app");
    let packages = app.join("functions");
    std::fs::create_dir_all(&packages).with_context(|| format!("failed to create {}", packages.display()))?;
    let template = app.join("template.yaml");
    std::fs::copy(root.join("template.yaml"), &template).context("failed to copy template.yaml")?;
    for (name, binary) in binaries {
        let package = packages.join(name);
        if modified(&package).is_none_or(|packed| Some(packed) < modified(binary)) {
            pack(binary, &package).with_context(|| format!("failed to pack {}", binary.display()))?;
        }
    }
    Ok(template)
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Packs a binary as Lambda wants it: a zip with an executable `bootstrap`.
fn pack(binary: &Path, package: &Path) -> anyhow::Result<()> {
    let unfinished = package.with_extension("unfinished");
    let mut zip = ZipWriter::new(File::create(&unfinished)?);
    let fast = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(1));
    zip.start_file("bootstrap", fast.unix_permissions(0o755))?;
    std::io::copy(&mut File::open(binary)?, &mut zip)?;
    zip.finish()?;
    std::fs::rename(unfinished, package)?;
    Ok(())
}

/// Reads a parameter as `--parameter` takes it.
pub(crate) fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter is NAME=VALUE, such as Providers=jumio")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Checks that the template has these parameters.
pub(crate) fn check_parameters(root: &Path, parameters: &[(String, String)]) -> anyhow::Result<()> {
    let template = std::fs::read_to_string(root.join("template.yaml")).context("failed to read template.yaml")?;
    let (_, section) = template.split_once("\nParameters:\n").context("template.yaml has no parameters")?;
    let section = section.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let known: Vec<&str> = section
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':').filter(|name| !name.starts_with(' ')))
        .collect();
    for (name, _) in parameters {
        if !known.contains(&name.as_str()) {
            bail!("template.yaml has no parameter {name}, only {}", known.join(", "));
        }
    }
    Ok(())
}

/// Where SAM puts the functions' packages.
const BUCKET: &str = "verification-callbacks-artifacts";

/// Creates the bucket that [`deploy`] needs.
pub(crate) async fn create_bucket(endpoint_url: &str) -> anyhow::Result<()> {
    let put = reqwest::Client::new().put(format!("{endpoint_url}/{BUCKET}")).send().await;
    put.and_then(reqwest::Response::error_for_status).context("failed to create the bucket for the functions")?;
    Ok(())
}

/// Deploys a template to the emulator with AWS SAM, with these parameters.
pub(crate) async fn deploy(
    sam: &Path,
    template: &Path,
    endpoint_url: &str,
    wallet: &Wallet,
    providers_url: &str,
    parameters: &[(String, String)],
) -> anyhow::Result<()> {
    let issuers = json!([{ "issuer": wallet.issuer, "jwks_url": wallet.jwks_url, "algorithms": ["ES256", "EdDSA"] }]);
    let mut all = BTreeMap::from([
        ("Architecture", architecture().to_owned()),
        // All providers, those that are off by default included.
        ("Providers", providers::with_secrets()),
        // The emulator's gateway reports this machine as every caller's address.
        ("JumioNetworks", "127.0.0.1".to_owned()),
        ("WalletIssuers", issuers.to_string()),
        // ministack 1.5.33 does not know AWS::Logs::QueryDefinition.
        ("SavedQueries", "false".to_owned()),
    ]);
    for provider in Played::ALL {
        all.insert(provider.url_parameter(), provider.url(providers_url));
    }
    all.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.clone())));
    // YAML, as all JSON is: SAM goes by the name.
    let parameters_file = template.with_file_name("parameters.yaml");
    std::fs::write(&parameters_file, json!(all).to_string()).context("failed to write the template's parameters")?;
    let mut command = Command::new(sam.join("sam"));
    command
        .args(["deploy", "--stack-name", STACK_NAME, "--s3-bucket", BUCKET, "--capabilities", "CAPABILITY_IAM"])
        .args(["--no-confirm-changeset", "--no-progressbar", "--region", LOCAL_REGION])
        .args(["--parameter-overrides", "file://parameters.yaml"])
        .arg("--template-file")
        .arg(template)
        // It looks for samconfig.toml where it is started.
        .current_dir(template.parent().unwrap_or(template))
        .env("AWS_ENDPOINT_URL", endpoint_url)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("SAM_CLI_TELEMETRY", "0")
        .env("SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS", "1")
        // Seconds between looks at how far it is; five unless set, to spare AWS.
        .env("SAM_CLI_POLL_DELAY", "0.1");
    python::output(&mut command).await.context("failed to deploy template.yaml to the emulator")?;
    Ok(())
}

/// This machine's processor, as the template's parameter names it.
pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

/// Creates the API's routes, which the emulator should have done, and deletes those of an earlier deployment.
///
/// A workaround: SAM writes the routes into the `Body` of the API, as OpenAPI, and ministack 1.5.33 does not read it. AWS does.
pub(crate) async fn create_routes(resources: &Resources, endpoint_url: &str) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let api = format!("{endpoint_url}/v2/apis/{}", resources.api_id()?);
    let create = async |what: &str, body: Value| -> anyhow::Result<Value> {
        let response = http.post(format!("{api}/{what}")).json(&body).send().await?.error_for_status()?;
        Ok(response.json().await?)
    };
    let listed: Value = http.get(format!("{api}/routes")).send().await?.error_for_status()?.json().await?;
    for earlier in listed.get("items").and_then(Value::as_array).into_iter().flatten() {
        let id = earlier.get("routeId").and_then(Value::as_str).context("a route without an id")?;
        http.delete(format!("{api}/routes/{id}")).send().await?.error_for_status()?;
    }
    for route in resources.routes()? {
        let function = resources.physical_id(&route.function)?;
        let integration = json!({
            "integrationType": "AWS_PROXY",
            "integrationUri": format!("arn:aws:lambda:{LOCAL_REGION}:000000000000:function:{function}"),
            "payloadFormatVersion": "2.0",
        });
        let created = create("integrations", integration).await.context("failed to create an integration")?;
        let id = created.get("integrationId").and_then(Value::as_str).context("an integration without an id")?;
        let route_key = format!("{} {}", route.method, route.path);
        let authorization = if route.is_signed { "AWS_IAM" } else { "NONE" };
        let target = format!("integrations/{id}");
        create("routes", json!({ "routeKey": route_key, "target": target, "authorizationType": authorization }))
            .await
            .with_context(|| format!("failed to create the route {route_key}"))?;
    }
    Ok(())
}

/// Sets what the emulator left out when it created the tables.
///
/// A workaround: ministack 1.5.33 reads neither TimeToLiveSpecification nor PointInTimeRecoverySpecification of a table in a template, and the indexes that it creates
/// from one have no status. AWS does. (Nor does it encrypt, which nothing here can tell.)
pub(crate) async fn complete_tables(resources: &Resources, connections: &Connections) -> anyhow::Result<()> {
    let dynamodb = &connections.dynamodb;
    for (table, properties) in resources.tables()? {
        let completed = async || -> anyhow::Result<()> {
            if let Some(attribute) =
                properties.pointer("/TimeToLiveSpecification/AttributeName").and_then(Value::as_str)
            {
                let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build()?;
                dynamodb.update_time_to_live().table_name(table).time_to_live_specification(ttl).send().await?;
            }
            let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build()?;
            let backups = dynamodb.update_continuous_backups().table_name(table);
            backups.point_in_time_recovery_specification(recovery).send().await?;
            let described = dynamodb.describe_table().table_name(table).send().await?.table;
            let described = described.context("a table that is not described")?;
            for index in described.global_secondary_indexes().iter().filter(|index| index.index_status().is_none()) {
                // One that is created by itself has a status.
                let delete =
                    DeleteGlobalSecondaryIndexAction::builder().set_index_name(index.index_name.clone()).build()?;
                let create = CreateGlobalSecondaryIndexAction::builder()
                    .set_index_name(index.index_name.clone())
                    .set_key_schema(index.key_schema.clone())
                    .set_projection(index.projection.clone())
                    .build()?;
                for update in [
                    GlobalSecondaryIndexUpdate::builder().delete(delete).build(),
                    GlobalSecondaryIndexUpdate::builder().create(create).build(),
                ] {
                    let update = dynamodb.update_table().table_name(table).global_secondary_index_updates(update);
                    update.set_attribute_definitions(described.attribute_definitions.clone()).send().await?;
                }
            }
            Ok(())
        };
        completed().await.with_context(|| format!("failed to complete the table {table}"))?;
    }
    Ok(())
}

/// Publishes the wallet gateway's public key, in a bucket of the emulator, and returns where.
pub(crate) async fn publish_keys(jwks: &Value, endpoint_url: &str) -> anyhow::Result<String> {
    let bucket = format!("{endpoint_url}/wallet-gateway");
    let url = format!("{bucket}/jwks.json");
    let http = reqwest::Client::new();
    for (url, body) in [(&bucket, String::new()), (&url, jwks.to_string())] {
        let put = http.put(url).body(body).send().await.and_then(reqwest::Response::error_for_status);
        put.context("failed to publish the wallet gateway's keys")?;
    }
    Ok(url)
}

/// Stores each provider's secret as the samples in events/ present it, and its stand-in's credentials.
pub(crate) async fn seed_secrets(resources: &Resources, connections: &Connections) -> anyhow::Result<()> {
    for (name, id) in resources.secrets() {
        connections
            .secrets_manager
            .put_secret_value()
            .secret_id(id)
            .secret_string(json!({ "current": local_secret(&name) }).to_string())
            .send()
            .await
            .with_context(|| format!("failed to set the secret of {name}"))?;
    }
    let retrieval_secrets = resources.retrieval_secrets();
    for provider in Played::ALL {
        if let Some(id) = retrieval_secrets.get(provider.as_str()) {
            let put = connections.secrets_manager.put_secret_value().secret_id(id);
            let put = put.secret_string(provider.credentials().to_string()).send().await;
            put.with_context(|| format!("failed to set the secret by which {} is asked", provider.as_str()))?;
        }
    }
    Ok(())
}

/// The secret of a provider in every local stack, and in events/.
#[must_use]
pub fn local_secret(name: &str) -> String {
    format!("local-{name}-secret")
}
