//! How much memory a backup into a bucket takes, and a restore out of it.

use std::process::Command;

use tapster_cloud::testing::Moto;

use crate::cloud_lab::{CloudLab, Place, Whose, installed};

/// Runs a program, and says how many KiB of it were in memory at most.
const PEAK: &str = "import resource, subprocess, sys\n\
                    subprocess.run(sys.argv[1:], check=True)\n\
                    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

const MIB: u64 = 1 << 20;
/// What is allowed.
const MEMORY: u64 = 24 * MIB;
/// Of what is no data on its way: threads, buffers of codecs and connections.
const MARGIN: u64 = 32 * MIB;

/// Bytes in memory at most of a command on the bucket.
fn peak(cloud: &CloudLab, name: &str, options: &[&str], arguments: &[&str]) -> u64 {
    let tool = cloud.start(name, options);
    let mut measured = Command::new(installed("python3"));
    measured.args(["-c", PEAK]).arg(tool.get_program()).args(tool.get_args()).args(arguments);
    measured.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = measured.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {options:?}: {error}");
    said.lines().last().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn no_more_is_held_in_memory_than_is_allowed() {
    let Some(moto) = Moto::start() else { return };
    let place = Place::s3(format!("s3://{}/memory", moto.bucket()), moto.endpoint(), moto.variables());
    // It archives nothing, so that the backup waits for nobody.
    let Some(cloud) = CloudLab::with(place, |builder| builder) else { return };
    let cluster = &cloud.lab.cluster;
    // More than what all requests together would hold, which is 72 MiB, if they could.
    cluster.sql("CREATE TABLE t AS SELECT md5(i::text) || md5(i::text) FROM generate_series(1, 800000) AS i");
    cluster.sql("CHECKPOINT");
    let usual = peak(&cloud, "backup-list", &[], &[]);
    let conninfo = cluster.conninfo().to_conninfo_string();
    let limit = &["--memory", "24MB", "--jobs", "8"][..];
    let backup = peak(&cloud, "backup", &[&["-d", &conninfo, "--immediate-checkpoint"], limit].concat(), &[]);
    let data = cloud.lab.destination("restored");
    let data = data.to_str().unwrap();
    let restore = peak(&cloud, "restore", limit, &["auto", data]);
    let bound = usual + MEMORY + MARGIN;
    assert!(backup <= bound, "backup: {backup} of {bound} bytes, {usual} without data");
    assert!(restore <= bound, "restore: {restore} of {bound} bytes, {usual} without data");
    let (code, _, said) = cloud.run(Whose::Ours, "restore", &["--memory", "0"], &["auto", data]);
    assert_eq!((code, said.contains("--memory")), (3, true), "{said}");
}
