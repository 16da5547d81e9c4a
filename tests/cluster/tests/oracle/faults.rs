//! The faults: each strikes while traffic is on, and is over when it returns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millrace_cluster::{Node, Proxy};
use millrace_tests::crowd::{Crowd, deletion};
use millrace_tests::observe;
use millrace_tests::shim::Shim;

use crate::scene::{Fault, Scene};

/// Faults of brokers and processes: nothing that is acknowledged is forgotten.
pub(crate) const MILD: [Fault; 9] = [
    ("broker paused 10 s", |scene| without_broker(scene, |node| pause(node, 10))),
    ("broker paused 28 s", |scene| without_broker(scene, |node| pause(node, 28))),
    ("broker killed and restarted", |scene| without_broker(scene, |node| kill(node, 2))),
    ("database paused 10 s", |scene| pause(&scene.cluster.nodes()[0], 10)),
    DOOR_AND_WORKER_KILLED,
    DOOR_AND_WORKER_PAUSED,
    PAUSED_WHILE_ALL_ARE_ERASED,
    STORM,
    SKEWED_CLOCKS,
];

/// Faults after which the database has forgotten what it acknowledged.
pub(crate) const FORGETFUL: [Fault; 6] = [
    ("database killed and restarted", |scene| kill(&scene.cluster.nodes()[0], 2)),
    DATABASE_AND_WORKERS_KILLED,
    ALL_KILLED_IN_A_JOB,
    DATABASE_KILLED_WHILE_IDLE,
    LEDGER_SURVIVES,
    LEDGER_SURVIVES_WORKERS_DO_NOT,
];

/// Faults of one of three servers.
pub(crate) const ONE_OF_THREE_BROKERS: Fault = ("one of three brokers killed", |scene| {
    scene.world.circumstances.batches_repeated = true;
    let broker = scene.pick(0..3);
    kill(&scene.cluster.brokers()[broker], 6)
});
pub(crate) const ONE_OF_THREE_NODES: Fault = ("one of three database nodes killed", |scene| {
    let node = scene.pick(0..3);
    kill(&scene.cluster.nodes()[node], 6)
});

/// Faults of the network before a broker and before a database.
pub(crate) const NETWORK: [Fault; 6] = [
    ("broker's network slow (150 ms)", |scene| without_broker(scene, slow)),
    ("broker's network cut 5 s", |scene| without_broker(scene, cut)),
    ("broker's network half-open 12 s", |scene| without_broker(scene, half_open)),
    ("database's network slow (150 ms)", |scene| slow(&scene.cluster.nodes()[0])),
    ("database's network cut 5 s", |scene| cut(&scene.cluster.nodes()[0])),
    ("database's network half-open 12 s", |scene| half_open(&scene.cluster.nodes()[0])),
];

pub(crate) const DOOR_AND_WORKER_KILLED: Fault = ("front door and worker killed", |scene| {
    let (doors, workers) = (scene.split.door_places(), scene.split.worker_places());
    let places = [scene.pick(doors), scene.pick(workers)];
    for place in places {
        scene.split.members()[place].kill_9()?;
    }
    wait(1);
    places.into_iter().try_for_each(|place| scene.split.start_again(place))
});

pub(crate) const DOOR_AND_WORKER_PAUSED: Fault =
    ("front door and worker stopped past their session", |scene| {
        let (doors, workers) = (scene.split.door_places(), scene.split.worker_places());
        let places = [scene.pick(doors), scene.pick(workers)];
        for place in places {
            scene.split.members()[place].server()?.pause()?;
        }
        std::thread::sleep(Duration::from_millis(scene.spec.session_timeout_ms));
        wait(4);
        for place in places {
            scene.split.members()[place].server()?.resume()?;
        }
        Ok(())
    });

/// They come back with records that were read before the deletions were asked for, and with a
/// database in which everybody is erased.
pub(crate) const PAUSED_WHILE_ALL_ARE_ERASED: Fault =
    ("a worker of each role stopped past its session while all users are erased", |scene| {
        let places: Vec<usize> = scene.split.worker_places().step_by(scene.spec.workers).collect();
        for place in &places {
            scene.split.members()[*place].server()?.pause()?;
        }
        scene.silence()?;
        let from = scene.world.history.snapshot().len();
        let users = scene.cast().users;
        scene.send(&[deletion(&users, 2)])?;
        let ops = scene.world.history.snapshot();
        let jobs = ops[from..].iter().filter_map(|op| op.job).collect();
        observe::wait_idle(&scene.split, &jobs)?;
        for place in places {
            scene.split.members()[place].server()?.resume()?;
        }
        // What they had read may be written now.
        wait(2);
        Ok(())
    });

/// Users of the job in which all are killed.
const CROWD: usize = 2_000;
/// How many of them are read back.
const READ_BACK: usize = 60;

pub(crate) const ALL_KILLED_IN_A_JOB: Fault =
    ("database and all workers killed in the middle of a large job", |scene| {
        let seed = scene.world.rng.u32(..);
        let crowd = Crowd::new(&format!("crowd{seed}"), CROWD);
        scene.send(&crowd.load())?;
        scene.until_applied()?;
        scene.send(&[crowd.deletion(1)])?;
        scene.beside = crowd.sample(&mut scene.world.rng, READ_BACK);
        std::thread::sleep(Duration::from_millis(scene.world.rng.u64(0..1_500)));
        (DATABASE_AND_WORKERS_KILLED.1)(scene)
    });

pub(crate) const STORM: Fault = ("workers join and leave every 2 to 3 s", |scene| {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(12) {
        let workers = scene.split.worker_places();
        let place = scene.pick(workers);
        let member = &mut scene.split.members()[place];
        match scene.world.rng.bool() {
            true => member.kill_9()?,
            false => member.terminate()?,
        }
        std::thread::sleep(Duration::from_millis(scene.world.rng.u64(1_000..1_500)));
        scene.split.start_unready(place)?;
        std::thread::sleep(Duration::from_millis(scene.world.rng.u64(1_000..1_500)));
    }
    Ok(())
});

/// From here on the order of different users' devices cannot be told: their times of receipt are
/// those of two clocks.
pub(crate) const SKEWED_CLOCKS: Fault = ("front doors' clocks five minutes apart", |scene| {
    scene.world.circumstances.clock_jumped = true;
    let shim = Shim::around(&scene.world.data())?;
    let ahead = scene.split.door_places().next().context("no front door")?;
    let own = scene.split.members()[ahead].launch.clone();
    let launch = shim.preload(own.clone())?.env("MILLRACE_SHIM_CLOCK_S", "300");
    for launch in [launch, own] {
        let member = &mut scene.split.members()[ahead];
        member.launch = launch;
        member.terminate()?;
        scene.split.start_again(ahead)?;
        wait(3);
    }
    Ok(())
});

pub(crate) const DATABASE_AND_WORKERS_KILLED: Fault =
    ("database and all workers killed at once", |scene| {
        let node = &scene.cluster.nodes()[0];
        node.kill_9()?;
        let workers = scene.split.worker_places();
        for place in workers.clone() {
            scene.split.members()[place].kill_9()?;
        }
        node.start()?;
        workers.into_iter().try_for_each(|place| scene.split.start_unready(place))
    });

pub(crate) const DATABASE_KILLED_WHILE_IDLE: Fault =
    ("database killed while the workers are idle", |scene| {
        wait(3);
        scene.until_applied()?;
        kill(&scene.cluster.nodes()[0], 1)
    });

/// A database flushes each table when it likes: here the ledger, just before it dies. What it
/// forgets then lies behind the frontier that it remembers.
pub(crate) const LEDGER_SURVIVES: Fault =
    ("database killed, of the last seconds only the ledger survives", |scene| {
        wait(5);
        flush_ledger(scene)?;
        kill(&scene.cluster.nodes()[0], 1)
    });

/// The same, and nobody is left who remembers anything.
pub(crate) const LEDGER_SURVIVES_WORKERS_DO_NOT: Fault =
    ("database and all workers killed, of the last seconds only the ledger survives", |scene| {
        wait(5);
        flush_ledger(scene)?;
        (DATABASE_AND_WORKERS_KILLED.1)(scene)
    });

fn flush_ledger(scene: &Scene<'_>) -> Result<()> {
    let node = &scene.cluster.nodes()[0];
    node.nodetool(&["flush", &scene.spec.name, "ledger"]).map(drop)
}

fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// A batch whose acknowledgement does not come is sent again, under another epoch of the producer
/// if meanwhile another one was given up: then the broker takes it for a new one.
fn without_broker(scene: &mut Scene<'_>, fault: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
    scene.world.circumstances.batches_repeated = true;
    fault(&scene.cluster.brokers()[0])
}

fn pause(node: &Node, seconds: u64) -> Result<()> {
    node.pause()?;
    wait(seconds);
    node.resume()
}

fn kill(node: &Node, seconds: u64) -> Result<()> {
    node.kill_9()?;
    wait(seconds);
    node.start()
}

fn proxy(node: &Node) -> Result<&Proxy> {
    node.proxy().with_context(|| format!("no proxy before {}", node.name()))
}

fn slow(node: &Node) -> Result<()> {
    proxy(node)?.latency(Duration::from_millis(150))?;
    wait(8);
    proxy(node)?.restore()
}

fn cut(node: &Node) -> Result<()> {
    proxy(node)?.cut()?;
    wait(5);
    proxy(node)?.restore()
}

fn half_open(node: &Node) -> Result<()> {
    proxy(node)?.half_open()?;
    wait(12);
    proxy(node)?.restore()
}
