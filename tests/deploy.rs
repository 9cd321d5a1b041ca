//! The files of examples/deploy, as far as they can be tried without a cluster.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{clips, repository, rows};
use serde_yaml::Value as Yaml;

/// `srun` as far as the script needs it: two tasks on this machine.
const SRUN: &str = r#"#!/usr/bin/env bash
set -u
while [[ $1 == --* ]]; do shift; done
pids=()
for task in 0 1; do
  SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=localhost "$@" &
  pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM
code=0
for pid in "${pids[@]}"; do
  wait "$pid"; one=$?
  while kill -0 "$pid" 2>/dev/null; do wait "$pid"; one=$?; done
  (( one > code )) && code=$one
done
exit $code
"#;

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("it can be made executable");
}

#[test]
fn the_slurm_script_runs_a_pipeline_over_its_tasks() {
    let input = clips(&["city-low-bitrate.mp4", "bigbuckbunny.mp4"]);
    let folder = tempfile::tempdir().expect("a folder");
    executable(&folder.path().join("srun"), SRUN);
    executable(
        &folder.path().join("scontrol"),
        "#!/bin/sh\necho requeued\n",
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .arg(repository("examples/deploy/slurm.sh"))
        .arg(repository("pipelines/regions.yaml"))
        .args(["--set", &format!("input={}", input.path().display())])
        .args(["--set", "output=out.jsonl", "--set", "crops=crops"])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("CLIPSIEVE", env!("CARGO_BIN_EXE_clipsieve"))
        .env("CLIPSIEVE_SECRET_FILE", folder.path().join("secret"))
        .env("SLURM_JOB_ID", std::process::id().to_string())
        .output()
        .expect("bash");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(rows(&folder.path().join("out.jsonl")).len(), 2, "{stderr}");
    let secret = std::fs::metadata(folder.path().join("secret")).expect("a secret");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        secret.permissions().mode() & 0o077,
        0,
        "nobody else may read it"
    );
}

#[test]
fn the_kubernetes_manifest_says_what_a_run_over_its_pods_needs() {
    let text = std::fs::read_to_string(repository("examples/deploy/kubernetes.yaml"));
    let text = text.expect("the manifest");
    let documents: Vec<Yaml> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).expect("YAML"))
        .collect();
    let [service, job] = documents.as_slice() else {
        panic!("a service and a job")
    };
    let spec = &job["spec"];
    assert_eq!(spec["completionMode"], "Indexed");
    assert_eq!(spec["completions"], spec["parallelism"]);
    let pods = spec["completions"].as_u64().expect("a number") as usize;
    let pod = &spec["template"]["spec"];
    // Pods are called JOB-INDEX.SERVICE, which is what `--master` names.
    assert_eq!(pod["subdomain"], service["metadata"]["name"]);
    assert_eq!(
        service["spec"]["selector"]["job-name"],
        job["metadata"]["name"]
    );
    let container = &pod["containers"][0];

    // The command of the container, with the names of the cluster put in.
    let input = clips(&["city-low-bitrate.mp4"]);
    let shared = tempfile::tempdir().expect("a folder");
    let pipeline = shared.path().join("pipeline.yaml");
    std::fs::copy(repository("pipelines/regions.yaml"), pipeline).expect("a pipeline");
    let port = 42_000 + std::process::id() % 10_000;
    let arguments: Vec<String> = container["args"]
        .as_sequence()
        .expect("arguments")
        .iter()
        .map(|argument| {
            let argument = argument.as_str().expect("text");
            argument
                .replace("/shared/rows.jsonl", &input.path().display().to_string())
                .replace("/shared", &shared.path().display().to_string())
                .replace("clipsieve-0.clipsieve:7654", &format!("127.0.0.1:{port}"))
                .replace("$(POD_IP)", "127.0.0.1")
        })
        .collect();
    assert!(arguments.contains(&format!("--machines={pods}")));
    let named = |name: &str| {
        let env = container["env"].as_sequence().expect("an environment");
        env.iter().any(|variable| variable["name"] == name)
    };
    assert!(named("CLIPSIEVE_SECRET") && named("POD_IP"));
    let started: Vec<Child> = (0..pods)
        .map(|index| {
            Command::new(env!("CARGO_BIN_EXE_clipsieve"))
                .args(&arguments)
                .args(["--set", "crops=crops"])
                .current_dir(shared.path())
                .env("JOB_COMPLETION_INDEX", index.to_string())
                .env(
                    "CLIPSIEVE_SECRET",
                    "for this test only, of 16 bytes or more",
                )
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program")
        })
        .collect();
    for (index, child) in started.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pod {index}: {stderr}");
    }
    assert_eq!(rows(&shared.path().join("results.jsonl")).len(), 1);
}
