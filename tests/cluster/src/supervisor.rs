//! The process that owns the servers: starts them, signals them, and ends them with the last lease.
//!
//! One thread holds everything; those that read the socket send it events. It is also the only one
//! that starts servers, because a parent's death signal is that of the thread that started a child.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, kill_process};

use crate::plan::{Plan, ServerPlan};
use crate::protocol::{self, Answer, Command, Signal, State};
use crate::tls;

/// How long a new cluster waits for who asked for it.
const FIRST_LEASE: Duration = Duration::from_secs(60);

enum Event {
    Taken,
    Returned,
    Command(Command, Sender<Answer>),
}

/// Runs the cluster whose plan lies in the folder, until nobody needs it; removes the folder.
///
/// # Errors
/// It cannot be prepared or started.
pub fn supervise(folder: &Path) -> Result<()> {
    let _held = hold(folder)?;
    sweep();
    let result = run(folder);
    let removed = fs::remove_dir_all(folder);
    result?;
    Ok(removed?)
}

fn run(folder: &Path) -> Result<()> {
    let plan = Plan::read(folder)?;
    let (send, events) = mpsc::channel();
    let listener = UnixListener::bind(protocol::socket(folder)).with_context(|| {
        format!("no socket in {}: set TMPDIR to a shorter path", folder.display())
    })?;
    std::thread::spawn(move || accept(&listener, &send));
    let mut servers = Servers::new(&plan);
    servers.broken = servers.start_all().err();
    servers.serve(&events, plan.linger_s.map(Duration::from_secs));
    Ok(())
}

fn accept(listener: &UnixListener, send: &Sender<Event>) {
    for stream in listener.incoming().flatten() {
        let send = send.clone();
        // Here, in the order of the connections: told by its own thread, the first lease could be
        // counted after a later connection had come and gone, which is when nobody holds one.
        let _ = send.send(Event::Taken);
        std::thread::spawn(move || {
            let _ = converse(&stream, &send);
            let _ = send.send(Event::Returned);
        });
    }
}

fn converse(stream: &UnixStream, send: &Sender<Event>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(command) = protocol::read_line(&mut reader)? {
        let (reply, answer) = mpsc::channel();
        send.send(Event::Command(command, reply))?;
        protocol::write_line(stream, &answer.recv()?)?;
    }
    Ok(())
}

/// The servers. Whatever still runs is killed and reaped when they are dropped.
struct Servers<'a> {
    plan: &'a Plan,
    children: Vec<Option<Child>>,
    /// Why the cluster could not be started: the answer to whatever is asked.
    broken: Option<String>,
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
        }
        for child in self.children.iter_mut().flatten() {
            let _ = child.wait();
        }
    }
}

impl<'a> Servers<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, children: plan.servers.iter().map(|_| None).collect(), broken: None }
    }

    fn start_all(&mut self) -> Result<(), String> {
        self.prepare().map_err(|error| format!("{error:#}"))?;
        (0..self.plan.servers.len()).try_for_each(|server| self.start(server).map(|_| ()))
    }

    fn prepare(&self) -> Result<()> {
        let plan = self.plan;
        if plan.shape.tls {
            tls::make(plan)?;
        }
        std::thread::scope(|scope| {
            let prepare = |server| scope.spawn(move || plan.prepare(server));
            let threads: Vec<_> = plan.servers.iter().map(prepare).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("preparing panicked")))
            };
            threads.into_iter().try_for_each(join)
        })
    }

    /// Until the last lease has been back for the time, or somebody says so.
    fn serve(&mut self, events: &Receiver<Event>, linger: Option<Duration>) {
        let mut leases = 0_usize;
        let mut patience = linger.map(|_| FIRST_LEASE);
        loop {
            let event = match patience {
                Some(patience) if leases == 0 => events.recv_timeout(patience),
                _ => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Taken) => (leases, patience) = (leases + 1, linger),
                Ok(Event::Returned) => leases = leases.saturating_sub(1),
                Ok(Event::Command(command, reply)) => {
                    let _ = reply.send(self.obey(command));
                    if matches!(command, Command::Down) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn obey(&mut self, command: Command) -> Answer {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        match command {
            Command::Look { server } => self.look(server),
            Command::Signal { server, signal } => self.signal(server, signal),
            Command::Start { server } => self.start(server),
            Command::Down => Ok(State { pid: None, ended: None }),
        }
    }

    fn child(&mut self, server: usize) -> Result<&mut Option<Child>, String> {
        self.children.get_mut(server).ok_or_else(|| format!("there is no server {server}"))
    }

    fn look(&mut self, server: usize) -> Answer {
        let Some(child) = self.child(server)? else {
            return Ok(State { pid: None, ended: None });
        };
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        let pid = ended.is_none().then(|| child.id());
        Ok(State { pid, ended: ended.map(|status| status.to_string()) })
    }

    fn signal(&mut self, server: usize, signal: Signal) -> Answer {
        // A child that has been reaped has no process id any more, or somebody else has it.
        if let Some(pid) = self.look(server)?.pid {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process id")?;
            let signal = match signal {
                Signal::Kill => rustix::process::Signal::KILL,
                Signal::Stop => rustix::process::Signal::STOP,
                Signal::Continue => rustix::process::Signal::CONT,
                Signal::Terminate => rustix::process::Signal::TERM,
            };
            kill_process(pid, signal).map_err(|error| error.to_string())?;
        }
        self.look(server)
    }

    fn start(&mut self, server: usize) -> Answer {
        if self.look(server)?.pid.is_none() {
            let plan = self.plan.servers.get(server).ok_or("there is no such server")?;
            let child = spawn(self.plan, plan).map_err(|error| format!("{error:#}"))?;
            *self.child(server)? = Some(child);
        }
        self.look(server)
    }
}

/// Starts a server that dies with this process, where the system can do that.
fn spawn(plan: &Plan, server: &ServerPlan) -> Result<Child> {
    let log = File::options().create(true).append(true).open(plan.log_of(server))?;
    let java = plan.command(server);
    let mut command = if setpriv() { bound_to_us(&java) } else { java };
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("start {}", server.name()))
}

/// Linux has it in util-linux. Not setpriv of BusyBox, which knows no death signal.
fn setpriv() -> bool {
    let version = Program::new("setpriv").arg("--version").output();
    version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("util-linux"))
}

fn bound_to_us(java: &Program) -> Program {
    let mut command = Program::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(java.get_program()).args(java.get_args());
    for (name, value) in java.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = java.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

/// A lock as long as this process lives; it shows others that the folder is in use. It has its
/// name only once it is held.
fn hold(folder: &Path) -> Result<File> {
    let new = folder.join("lock.new");
    let file = File::create(&new)?;
    file.lock()?;
    fs::rename(new, folder.join("lock"))?;
    Ok(file)
}

/// Removes the folders of supervisors that were killed.
fn sweep() {
    let folders = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for folder in folders.map(|entry| entry.path()).filter(|path| ours(path.as_path())) {
        let lock = File::open(folder.join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("millrace-cluster-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_before_what_is_asked_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(protocol::socket(folder.path())).unwrap();
        let (send, events) = mpsc::channel();
        std::thread::spawn(move || accept(&listener, &send));
        for _ in 0..500 {
            let lease = UnixStream::connect(protocol::socket(folder.path())).unwrap();
            let asked = UnixStream::connect(protocol::socket(folder.path())).unwrap();
            protocol::write_line(&asked, &Command::Down).unwrap();
            for _ in 0..2 {
                assert!(matches!(events.recv().unwrap(), Event::Taken));
            }
            assert!(matches!(events.recv().unwrap(), Event::Command(Command::Down, _)));
            drop((lease, asked));
            for _ in 0..2 {
                assert!(matches!(events.recv().unwrap(), Event::Returned));
            }
        }
    }
}
