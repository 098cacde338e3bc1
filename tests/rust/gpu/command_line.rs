//! The command line on a GPU.

use super::*;

/// Runs the command line on the page's model; without any driver, if `has_drivers` is false.
fn embed(device: &str, has_drivers: bool) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clip-wasm"));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/www/models/demo.gguf");
    command.args(["embed", "--model", model, "--text", "three red hearts", "--device", device]);
    if !has_drivers {
        // The second is the older name.
        command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
    }
    command.output().unwrap()
}

#[test]
fn the_command_line_computes_on_a_gpu_or_says_why_not() {
    let cpu = embed("cpu", true);
    assert!(cpu.status.success());
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    if let Some(gpu) = gpu(options()) {
        let on_gpu = embed("gpu", true);
        assert!(on_gpu.status.success() && said(&on_gpu).contains(gpu.name()), "{}", said(&on_gpu));
        let auto = embed("auto", true);
        assert!(auto.status.success() && said(&auto).contains(gpu.name()), "{}", said(&auto));
        assert_eq!(said(&auto).contains("computing on the CPU"), gpu.is_software());
    }
    if cfg!(not(target_os = "linux")) {
        println!("SKIPPED: a system without a driver: this is only made on Linux");
        return;
    }
    let none = embed("gpu", false);
    assert!(!none.status.success() && none.stdout.is_empty());
    assert!(said(&none).contains("[gpu_unavailable]"), "{}", said(&none));
    let auto = embed("auto", false);
    assert!(auto.status.success() && auto.stdout == cpu.stdout, "{}", said(&auto));
    assert!(said(&auto).contains("there is no GPU adapter"), "{}", said(&auto));
}
