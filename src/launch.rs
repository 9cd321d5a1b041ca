//! Which machine of several this is, told on the command line or by what started it.
//!
//! | started by | says |
//! |---|---|
//! | a person | `--hosts FILE --process I`, or `--master HOST:PORT --machines N --process I` |
//! | torchrun | `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT` |
//! | Slurm's srun | `SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`, `SLURM_LOCALID`, `SLURM_STEP_NODELIST`, `SLURM_JOB_ID` |
//! | a Kubernetes Indexed Job | `JOB_COMPLETION_INDEX`, beside `--master` and `--machines` |

use std::path::Path;

use clipsieve_engine::run::Secret;

use crate::cli::Run;

/// The port at which the master is called, if nobody says.
const MASTER_PORT: u16 = 7654;

/// Where this machine is in the run.
#[derive(Debug)]
pub struct Launch {
    /// Which machine it is; 0 is the master.
    pub machine: usize,
    /// How many there are.
    pub machines: usize,
    /// The master's address and port.
    pub master: (String, u16),
    /// The address on which this machine's processes listen, if it was told.
    pub listen: Option<String>,
    /// The first port of this machine's processes, if it was told.
    pub port: Option<u16>,
    /// Which of the processes of its machine the first one is.
    pub local: usize,
    /// What all machines have, and nobody else.
    pub secret: Secret,
}

/// What is said of several machines; `None` if nothing is.
///
/// # Errors
/// Something is missing or contradicts itself: what, and what to do.
pub fn of(arguments: &Run, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Launch>, String> {
    if let Some(flag) = useless(arguments, env) {
        return Err(format!(
            "`{flag}` needs the master: say `--master HOST[:PORT]` or `--hosts FILE`"
        ));
    }
    let Some(mut found) = told(arguments, env)? else {
        return Ok(None);
    };
    if found.machine >= found.machines {
        return Err(format!(
            "process {} of {} is none: they are numbered from 0",
            found.machine, found.machines
        ));
    }
    if found.machines == 1 {
        return Ok(None);
    }
    if let Some(listen) = &arguments.listen {
        found.listen = Some(listen.clone());
    }
    let secret = secret(arguments.secret_file.as_deref(), env)?;
    Ok(Some(Launch { secret, ..found }))
}

/// A flag that would do nothing, since nobody says where the master is.
fn useless(arguments: &Run, env: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    if arguments.hosts.is_some() || arguments.master.is_some() {
        return None;
    }
    // A launcher that started this one machine alone says so by them.
    let launched = ["RANK", "SLURM_PROCID"]
        .map(env)
        .iter()
        .any(Option::is_some);
    let flags = [
        ("--process", arguments.process.is_some()),
        (
            "--machines",
            arguments.machines.is_some_and(|count| count > 1),
        ),
        ("--listen", arguments.listen.is_some() && !launched),
        (
            "--secret-file",
            arguments.secret_file.is_some() && !launched,
        ),
    ];
    let given = flags.into_iter().find(|(_, is_given)| *is_given);
    given.map(|(flag, _)| flag)
}

fn told(arguments: &Run, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Launch>, String> {
    let number = |name: &str| -> Result<Option<usize>, String> {
        env(name)
            .map(|text| {
                text.trim()
                    .parse()
                    .map_err(|_| format!("the environment says {name}={text}, which is no number"))
            })
            .transpose()
    };
    let launch = |machine, machines, master| Launch {
        machine,
        machines,
        master,
        listen: None,
        port: None,
        local: 0,
        secret: Secret::new(b""),
    };
    let process = || -> Result<usize, String> {
        match arguments.process {
            Some(process) => Ok(process),
            None => number("JOB_COMPLETION_INDEX")?
                .ok_or_else(|| "which of the machines is this? say `--process I`".to_owned()),
        }
    };
    if let Some(file) = &arguments.hosts {
        let hosts = read_hosts(file)?;
        let machine = process()?;
        let (master, port) = hosts[0].clone();
        let own = hosts.get(machine);
        return Ok(Some(Launch {
            listen: own.map(|(host, _)| host.clone()),
            // The master is called at its port itself.
            port: own.and_then(|(_, port)| port.map(|port| port.saturating_add(1))),
            ..launch(machine, hosts.len(), (master, port.unwrap_or(MASTER_PORT)))
        }));
    }
    if let Some(master) = &arguments.master {
        let (host, port) = host_and_port(master)?;
        let machines = arguments
            .machines
            .ok_or_else(|| "how many machines are there? say `--machines N`".to_owned())?;
        let master = (host, port.unwrap_or(MASTER_PORT));
        return Ok(Some(launch(process()?, machines, master)));
    }
    if let (Some(rank), Some(world)) = (number("RANK")?, number("WORLD_SIZE")?)
        && let (Some(host), Some(port)) = (env("MASTER_ADDR"), number("MASTER_PORT")?)
        && world > 1
    {
        // torchrun itself listens at the port that it names.
        let port = u16::try_from(port)
            .ok()
            .and_then(|port| port.checked_add(1));
        let port = port.ok_or_else(|| "MASTER_PORT is no port".to_owned())?;
        return Ok(Some(Launch {
            local: number("LOCAL_RANK")?.unwrap_or(0),
            ..launch(rank, world, (host, port))
        }));
    }
    if let (Some(rank), Some(tasks)) = (number("SLURM_PROCID")?, number("SLURM_STEP_NUM_TASKS")?)
        && tasks > 1
    {
        let nodes = env("SLURM_STEP_NODELIST").unwrap_or_default();
        let host = first_node(&nodes)
            .ok_or_else(|| format!("SLURM_STEP_NODELIST={nodes} names no machine"))?;
        let job = number("SLURM_JOB_ID")?.unwrap_or(0);
        // Jobs that share a machine are to have ports of their own.
        let port = 20_000 + (job % 20_000) as u16;
        return Ok(Some(Launch {
            local: number("SLURM_LOCALID")?.unwrap_or(0),
            ..launch(rank, tasks, (host, port))
        }));
    }
    Ok(None)
}

/// A line a machine: `host` or `host:port`. Empty lines and what follows `#` do not count.
fn read_hosts(file: &Path) -> Result<Vec<(String, Option<u16>)>, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the hosts of {}: {error}", file.display()))?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let hosts = lines
        .filter(|line| !line.is_empty())
        .map(host_and_port)
        .collect::<Result<Vec<_>, _>>()?;
    match hosts.is_empty() {
        true => Err(format!("{} names no host", file.display())),
        false => Ok(hosts),
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    match text.rsplit_once(':') {
        // An address of IPv6 without a port.
        Some((host, _)) if host.contains(':') && !text.contains(']') => Ok((text.to_owned(), None)),
        Some((host, port)) => {
            let port = port
                .parse()
                .map_err(|_| format!("`{text}` is not `host:port`"))?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((host.to_owned(), Some(port)))
        }
        None => Ok((text.to_owned(), None)),
    }
}

/// The first machine of a list as Slurm writes it: `gpu[03-05,9],cpu1` is `gpu03`.
fn first_node(list: &str) -> Option<String> {
    let end = list.find([',', '[']).unwrap_or(list.len());
    let (name, rest) = list.split_at(end);
    let Some(inside) = rest.strip_prefix('[') else {
        return (!name.is_empty()).then(|| name.to_owned());
    };
    let (numbers, rest) = inside.split_once(']')?;
    let first = numbers.split([',', '-']).next()?;
    let suffix = rest.split(',').next().unwrap_or_default();
    Some(format!("{name}{first}{suffix}"))
}

fn secret(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
    let bytes = match file {
        Some(file) => std::fs::read(file)
            .map_err(|error| format!("cannot read the secret in {}: {error}", file.display()))?,
        None => env("CLIPSIEVE_SECRET")
            .map(String::into_bytes)
            .ok_or_else(|| {
                "a run over several machines needs a secret that all of them have: name a file with \
                 `--secret-file` (`head -c 32 /dev/urandom | base64 > secret` makes one), or set CLIPSIEVE_SECRET"
                    .to_owned()
            })?,
    };
    if bytes.trim_ascii().len() < 16 {
        return Err("the secret is too short: it has to have 16 bytes at least".to_owned());
    }
    Ok(Secret::new(&bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn launched(arguments: &[&str], env: &[(&str, &str)]) -> Result<Option<Launch>, String> {
        let line = ["clipsieve", "run", "p.yaml"].iter().chain(arguments);
        let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else {
            unreachable!("it is `run`")
        };
        let env = |name: &str| {
            let named = env.iter().find(|(other, _)| *other == name);
            named.map(|(_, value)| (*value).to_owned())
        };
        of(&run, &env)
    }

    const SECRET: (&str, &str) = ("CLIPSIEVE_SECRET", "0123456789abcdef");

    #[test]
    fn the_conventions_of_launchers_are_understood() {
        let slurm = [
            SECRET,
            ("SLURM_PROCID", "3"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[03-05,9],cpu1"),
            ("SLURM_JOB_ID", "41234"),
        ];
        let found = launched(&[], &slurm).unwrap().unwrap();
        assert_eq!((found.machine, found.machines, found.local), (3, 8, 1));
        assert_eq!(found.master, ("gpu03".to_owned(), 21_234));

        let torchrun = [
            SECRET,
            ("RANK", "5"),
            ("WORLD_SIZE", "6"),
            ("LOCAL_RANK", "2"),
            ("MASTER_ADDR", "10.0.0.1"),
            ("MASTER_PORT", "29500"),
        ];
        let found = launched(&[], &torchrun).unwrap().unwrap();
        assert_eq!((found.machine, found.machines, found.local), (5, 6, 2));
        assert_eq!(found.master, ("10.0.0.1".to_owned(), 29_501));

        let kubernetes = [SECRET, ("JOB_COMPLETION_INDEX", "1")];
        let flags = ["--master", "sieve-0.sieve", "--machines", "3"];
        let found = launched(&flags, &kubernetes).unwrap().unwrap();
        assert_eq!((found.machine, found.machines), (1, 3));
        assert_eq!(found.master, ("sieve-0.sieve".to_owned(), MASTER_PORT));

        assert!(launched(&[], &[]).unwrap().is_none());
        let alone = [
            ("RANK", "0"),
            ("WORLD_SIZE", "1"),
            ("MASTER_ADDR", "a"),
            ("MASTER_PORT", "1"),
        ];
        assert!(launched(&[], &alone).unwrap().is_none());
    }

    #[test]
    fn a_file_of_hosts_tells_who_listens_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        std::fs::write(&file, "a:7000 # the master\n\nb\n[::1]:7100\n").unwrap();
        let file = file.to_str().unwrap();
        let found = |process: &str| launched(&["--hosts", file, "--process", process], &[SECRET]);
        let last = found("2").unwrap().unwrap();
        assert_eq!(last.master, ("a".to_owned(), 7000));
        assert_eq!(
            (last.listen.as_deref(), last.port),
            (Some("::1"), Some(7101))
        );
        assert_eq!(found("1").unwrap().unwrap().port, None);
        assert!(found("3").unwrap_err().contains("numbered from 0"));
        let unknown = launched(&["--hosts", file], &[SECRET]).unwrap_err();
        assert!(unknown.contains("--process"), "{unknown}");
        let open = launched(&["--hosts", file, "--process", "0"], &[]).unwrap_err();
        assert!(open.contains("--secret-file"), "{open}");
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        for flag in [
            ["--process", "1"],
            ["--machines", "2"],
            ["--listen", "a"],
            ["--secret-file", "s"],
        ] {
            let refused = launched(&flag, &[SECRET]).unwrap_err();
            assert!(
                refused.contains(flag[0]) && refused.contains("--master"),
                "{refused}"
            );
        }
        let alone = [SECRET, ("RANK", "0"), ("WORLD_SIZE", "1")];
        assert!(launched(&["--listen", "a"], &alone).unwrap().is_none());
        assert!(launched(&["--machines", "1"], &[]).unwrap().is_none());
        let one = [
            "--master",
            "a",
            "--machines",
            "1",
            "--process",
            "0",
            "--listen",
            "a",
        ];
        assert!(launched(&one, &[]).unwrap().is_none());
    }

    #[test]
    fn lists_of_nodes_begin_with_the_master() {
        for (list, first) in [
            ("n1", Some("n1")),
            ("n1,n2", Some("n1")),
            ("n[7,9]", Some("n7")),
            ("rack[01-03]-x,n2", Some("rack01-x")),
            ("", None),
        ] {
            assert_eq!(first_node(list).as_deref(), first, "{list}");
        }
    }
}
