// Checks that the core and the C ABI compile for macOS and Windows: clang's -fsyntax-only of every source that
// CMake compiles there, with the headers of these systems. No object is written, nothing is linked or run. It also
// checks that headers of an operating system are included in native/core/base/platform_* alone.
// The clang, libc++ and headers are those of the PyPI package ziglang: python3 -m pip install ziglang==0.13.0. Another
// zig is named by TORCHCLIP_ZIG. Needs CMake and Ninja.
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { runAll } from "./native/commands.mjs";
import { readJson } from "./read-json.mjs";
import { root } from "./setup.mjs";

/** @import { Compilation } from "./native/commands.mjs" */
/**
 * @typedef {{
 *   name: string, system: string, processor: string, zig: string, triple: string, headers: string[]
 * }} Target
 */

const MACOS = ["any-macos-any"];
/** @type {Target[]} */
const TARGETS = [
  {
    name: "macos-arm64",
    system: "Darwin",
    processor: "arm64",
    zig: "aarch64-macos",
    triple: "arm64-apple-macos13",
    headers: MACOS,
  },
  {
    name: "macos-x64",
    system: "Darwin",
    processor: "x86_64",
    zig: "x86_64-macos",
    triple: "x86_64-apple-macos13",
    headers: MACOS,
  },
  {
    name: "windows-x64",
    system: "Windows",
    processor: "AMD64",
    zig: "x86_64-windows-gnu",
    triple: "x86_64-w64-windows-gnu",
    headers: ["any-windows-any"],
  },
];
// What zig defines for libc++, whose own configuration file it leaves out.
const LIBCXX_DEFINES = [
  "_LIBCPP_ABI_VERSION=1",
  "_LIBCPP_ABI_NAMESPACE=__1",
  "_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
  "_LIBCPP_PSTL_CPU_BACKEND_SERIAL",
  "_LIBCPP_HAS_NO_VENDOR_AVAILABILITY_ANNOTATIONS",
];
// Headers that one of the systems lacks; <csignal> is standard, but its sigaction is not.
const SYSTEM_NAMES = "unistd|fcntl|dlfcn|pthread|sched|malloc|io|windows|poll|dirent|xlocale";
const SYSTEM_HEADER = new RegExp(`^\\s*#\\s*include <((?:sys|linux|mach|asm)/.*|(?:${SYSTEM_NAMES})\\.h)>`);

/** The path of zig; throws an error with the command that installs it. */
function findZig() {
  if (process.env.TORCHCLIP_ZIG) return process.env.TORCHCLIP_ZIG;
  const program = "import ziglang, os; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))";
  const { status, stdout } = spawnSync("python3", ["-c", program], { encoding: "utf8" });
  if (status === 0) return stdout.trim();
  throw new Error("zig is missing: python3 -m pip install ziglang==0.13.0, or set TORCHCLIP_ZIG");
}

/** The includes of system headers that stand outside native/core/base/platform_*, as "file:line: header". */
function misplacedIncludes() {
  const folders = ["native/core", "native/addon", "native/include"];
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map(
        (name) => `${folder}/${name}`,
      ),
    )
    .filter((file) => /\.(h|hpp|cpp)$/.test(file) && !/^native\/core\/base\/platform_[^/]*$/.test(file))
    .flatMap((file) =>
      readFileSync(join(root, file), "utf8")
        .split("\n")
        .flatMap((line, index) => {
          const header = SYSTEM_HEADER.exec(line)?.[1];
          return header === undefined ? [] : [`${file}:${index + 1}: <${header}>`];
        }),
    );
}

/**
 * How CMake compiles the core for a target.
 * @param {string} zig
 * @param {Target} target
 */
function compilationsFor(zig, target) {
  const folder = join(root, "build-other", target.name);
  const options = {
    CMAKE_TOOLCHAIN_FILE: join(root, "native/cmake/zig.cmake"),
    CMAKE_EXPORT_COMPILE_COMMANDS: "ON",
    ZIG: zig,
    ZIG_SYSTEM: target.system,
    ZIG_PROCESSOR: target.processor,
    ZIG_TARGET: target.zig,
    TORCHCLIP_CORE_ONLY: "ON",
    TORCHCLIP_TESTS: "OFF",
  };
  const defined = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
  execFileSync("cmake", ["-S", root, "-B", folder, "-G", "Ninja", "-Wno-dev", ...defined], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return /** @type {Compilation[]} */ (readJson(join(folder, "compile_commands.json")));
}

/**
 * The command that only checks, by the plain driver of clang: zig's own cannot stop after the syntax.
 * @param {string} zig
 * @param {Target} target
 * @param {Compilation} compilation
 */
function syntaxCheck(zig, target, { command, directory, file }) {
  const library = join(dirname(zig), "lib");
  const includes = [
    join(library, "libcxx/include"),
    join(library, "libcxxabi/include"),
    join(library, "include"),
    ...target.headers.map((name) => join(library, "libc/include", name)),
  ];
  const driver = [
    zig,
    "clang",
    "-target",
    target.triple,
    "-nostdinc",
    ...includes.flatMap((path) => ["-isystem", path]),
    ...LIBCXX_DEFINES.map((define) => `-D${define}`),
  ];
  const compiler = command.indexOf(`${zig} c++`);
  if (compiler < 0) throw new Error(`the command for ${relative(root, file)} does not call ${zig}`);
  const options = command.slice(compiler + `${zig} c++`.length).replace(/ --target=\S+/, "");
  return {
    command: `${driver.join(" ")} ${options} -Werror -fsyntax-only`,
    directory,
  };
}

let failed = 0;
for (const include of misplacedIncludes()) {
  process.stdout.write(`${include} belongs in native/core/base/platform_*\n`);
  failed += 1;
}
const zig = findZig();
for (const target of TARGETS) {
  const start = performance.now();
  const files = compilationsFor(zig, target);
  const broken = await runAll(files.map((file) => syntaxCheck(zig, target, file)));
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  process.stdout.write(`${target.name}: ${files.length} files in ${seconds} s, ${broken} do not compile\n`);
  failed += broken;
}
process.exit(failed > 0 ? 1 : 0);
