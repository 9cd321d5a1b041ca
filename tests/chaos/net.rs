//! Several "machines": network namespaces of this one, with links that can be cut.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::job::{Job, Running, row};

/// Namespaces on one bridge; taken away on drop.
struct Net {
    tag: u32,
    machines: usize,
}

fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

impl Net {
    fn new(machines: usize) -> Option<Self> {
        let net = Self {
            tag: std::process::id() % 100_000,
            machines,
        };
        let bridge = net.bridge();
        let made = ip(&["link", "add", &bridge, "type", "bridge"])
            && ip(&["link", "set", &bridge, "up"])
            && (0..machines).all(|machine| net.plug_in(machine));
        made.then_some(net)
    }

    fn plug_in(&self, machine: usize) -> bool {
        let (space, outside, inside) = (self.space(machine), self.link(machine), "eth0");
        let address = format!("{}/24", self.address(machine));
        ip(&["netns", "add", &space])
            && ip(&[
                "link", "add", &outside, "type", "veth", "peer", "name", inside, "netns", &space,
            ])
            && ip(&["link", "set", &outside, "master", &self.bridge(), "up"])
            && ip(&["-n", &space, "addr", "add", &address, "dev", inside])
            && ip(&["-n", &space, "link", "set", inside, "up"])
            && ip(&["-n", &space, "link", "set", "lo", "up"])
    }

    fn bridge(&self) -> String {
        format!("cs{}br", self.tag)
    }

    fn space(&self, machine: usize) -> String {
        format!("clipsieve-{}-{machine}", self.tag)
    }

    fn link(&self, machine: usize) -> String {
        format!("cs{}v{machine}", self.tag)
    }

    fn address(&self, machine: usize) -> String {
        format!("10.77.{}.{}", self.tag % 250, machine + 1)
    }

    fn cut(&self, machine: usize) {
        assert!(ip(&["link", "set", &self.link(machine), "down"]));
    }

    fn mend(&self, machine: usize) {
        assert!(ip(&["link", "set", &self.link(machine), "up"]));
    }

    /// Loses some of the packets that come to a machine; whether that can be done here.
    fn lose_packets(&self, machine: usize) -> bool {
        let rules = "add table inet lossy; \
            add chain inet lossy in { type filter hook input priority 0; }; \
            add rule inet lossy in numgen random mod 100 < 5 drop";
        self.nft(machine, rules)
    }

    fn lose_no_packets(&self, machine: usize) {
        assert!(self.nft(machine, "delete table inet lossy"));
    }

    fn nft(&self, machine: usize, rules: &str) -> bool {
        ip(&["netns", "exec", &self.space(machine), "nft", rules])
    }

    /// Starts a machine's part in the job.
    fn start(&self, job: &Job, machine: usize) -> Running {
        self.start_with(job, machine, "secret")
    }

    fn start_with(&self, job: &Job, machine: usize, secret: &str) -> Running {
        let inner = job.command();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space(machine)])
            .arg(inner.get_program())
            .args(inner.get_args())
            .args(["--process", &machine.to_string(), "--secret-file", secret])
            .current_dir(job.folder.path())
            .stdin(Stdio::null());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Running::of(command)
    }

    fn job(&self, rows: u64, work: &str) -> Job {
        let job = Job::new((0..rows).map(row), work);
        let hosts: Vec<String> = (0..self.machines)
            .map(|machine| format!("{}:7600", self.address(machine)))
            .collect();
        std::fs::write(job.path("hosts"), hosts.join("\n")).expect("hosts");
        std::fs::write(job.path("secret"), "a secret of this test only\n").expect("a secret");
        job.with(&["--hosts", "hosts"])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for machine in 0..self.machines {
            ip(&["netns", "del", &self.space(machine)]);
            ip(&["link", "del", &self.link(machine)]);
        }
        ip(&["link", "del", &self.bridge()]);
    }
}

fn net(machines: usize) -> Option<Net> {
    let net = Net::new(machines);
    if net.is_none() {
        println!(
            "  skipped: network namespaces cannot be made here (that needs root and iproute2)"
        );
    }
    net
}

/// Three machines work over a network that loses packets, a link is cut and mended, a machine dies, and two finish.
pub fn machines_come_and_go() {
    let Some(net) = net(3) else { return };
    let rows = 1500;
    let job = net
        .job(rows, "150ms")
        .with(&["--silence", "3s", "--rejoin", "3s", "--join", "40s"]);
    let lossy = net.lose_packets(1);
    match lossy {
        true => println!("  5 % of the packets to machine 1 are dropped"),
        false => {
            println!("  no packets are dropped: nft is not here, or the kernel has no nftables")
        }
    }
    let mut master = net.start(&job, 0);
    let [mut first, mut second] = [1, 2].map(|machine| net.start(&job, machine));
    let mut since = Instant::now();
    let mut told = |what: &str| {
        println!("  {what}: {:.1?}", since.elapsed());
        since = Instant::now();
    };
    master.until("rows are done", |_| job.partial_bytes() > 0);
    told("the first rows of three machines");
    for machine in [&master, &first, &second] {
        assert_eq!(machine.members().len(), 1);
    }
    let before = job.partial_bytes();
    std::thread::sleep(Duration::from_secs(3));
    assert!(job.partial_bytes() > before, "{}", master.stderr());
    assert!(!master.stderr().contains("going on"), "{}", master.stderr());
    if lossy {
        net.lose_no_packets(1);
    }
    told("working over a network that loses packets");
    net.cut(2);
    second.until("it takes its processes down", |second| {
        second.members().is_empty()
    });
    told("a cut link is noticed by who is cut off");
    master.until("the others go on", |master| {
        let told = master.stderr();
        told.contains("going on without machine 2") && master.members().len() == 1
    });
    let before = job.partial_bytes();
    master.until("the others have rows", |_| job.partial_bytes() > before);
    told("two machines have rows again");
    net.mend(2);
    std::thread::sleep(Duration::from_secs(2));
    first.signal(libc::SIGKILL);
    told("the link is mended");
    second.until("it takes part again", |second| !second.members().is_empty());
    let before = job.partial_bytes();
    master.until("two go on", |_| job.partial_bytes() > before);
    told("another machine is dead, and the one that was cut off has taken its place");
    let stderr = master.expect(0);
    second.expect(0);
    told("the end");
    let _ = first.is_over();
    assert_eq!(job.rows().len() as u64, rows, "{stderr}");
}

/// Who is missing is told, and who does not have the secret does not come in.
pub fn a_machine_without_the_secret_is_missing() {
    let Some(net) = net(3) else { return };
    let job = net.job(10, "1ms").with(&["--join", "6s"]);
    std::fs::write(job.path("other"), "another secret altogether\n").expect("a secret");
    let master = net.start(&job, 0);
    let first = net.start(&job, 1);
    let stranger = net.start_with(&job, 2, "other");
    let told = stranger.expect(3);
    assert!(
        told.contains("does not have this run's secret")
            || told.contains("could not join the run of the master"),
        "{told}"
    );
    let told = master.expect(3);
    assert!(
        told.contains("not all machines came within 6s: machine 2 missing"),
        "{told}"
    );
    assert!(told.contains("machine 1 (10.77."), "{told}");
    first.expect(3);
}
