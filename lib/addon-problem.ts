import { isClone, packageRoot } from "./util/package.js";
import { libc, otherPlatforms, platformName, PREBUILT, SCOPE } from "./util/platform.js";

/** What the text about an addon that does not load depends on. */
export interface Machine {
  /** The end of the name of the platform's package: "linux-x64" … */
  platform: string;
  /** "glibc 2.36", "musl"; undefined where the system is not Linux. */
  libc: string | undefined;
  /** The folder of a clone, which is built here; undefined for an installed package. */
  clone: string | undefined;
  /** Packages of other platforms that are installed here. */
  others: readonly string[];
}

/** This machine. */
export function thisMachine(): Machine {
  return {
    platform: platformName(),
    libc: libc(),
    clone: isClone() ? packageRoot : undefined,
    others: otherPlatforms(),
  };
}

const GUIDE = "docs/install.md of the repository has the steps";

/**
 * The text of E_ADDON: why the addon does not load, what was found, and the command that mends it.
 *
 * @param tried a line for each place where the addon may be
 * @param error the message of the file that did not load; undefined where no file was there
 */
export function addonProblem(tried: readonly string[], error: string | undefined, machine: Machine): string {
  const system = [machine.platform, machine.libc].filter(Boolean).join(", ");
  return [
    `torchclip cannot start: ${reason(error, machine)}.`,
    `Found: Node ${process.version} on ${system}; tried`,
    ...tried.map((line) => `  ${line}`),
    ...remedy(error, machine),
  ].join("\n");
}

function reason(error: string | undefined, machine: Machine): string {
  if (error !== undefined) return reasonOfError(error);
  if (machine.clone) return "the native addon has not been built on this machine";
  if (!PREBUILT.includes(machine.platform)) return `there is no prebuilt addon for ${machine.platform}`;
  const missing = `the package ${SCOPE}/${machine.platform} with the prebuilt addon is not installed`;
  if (machine.others.length === 0) return missing;
  return `${missing}, but ${machine.others.join(" and ")} is: node_modules was installed for another system`;
}

/** Why a file that is there does not load. */
function reasonOfError(error: string): string {
  if (/GLIBC_|GLIBCXX_|CXXABI_/.test(error))
    return "the C or C++ library of this system is too old for the addon";
  if (/Error relocating|ld-linux|ld-musl|libc\.musl/.test(error))
    return "the addon is built for another C library (glibc or musl) than this system has";
  if (/NODE_MODULE_VERSION|different Node\.js/.test(error)) return "the addon was built for another Node.js";
  if (/ELF|mach-o|not a valid Win32|wrong architecture|file too short/i.test(error))
    return "the file of the addon is damaged, or it is built for another system";
  return "the addon does not load";
}

/** What is needed, and the command. */
function remedy(error: string | undefined, machine: Machine): string[] {
  if (machine.clone) {
    return [
      "Needed: the addon built here, with CMake >= 3.22, a C++20 compiler and libtorch 2.11 to 2.14.",
      `To mend it: npm --prefix ${JSON.stringify(machine.clone)} run build`,
    ];
  }
  if (!PREBUILT.includes(machine.platform)) {
    return [
      `Needed: one of ${PREBUILT.join(", ")} (glibc 2.28 or later), or the addon built from a clone.`,
      `To mend it: git clone https://github.com/torchclip/torchclip && npm --prefix torchclip run build, ` +
        `and set TORCHCLIP_ADDON to its build/Release/torchclip.node; ${GUIDE}`,
    ];
  }
  const [os, cpu] = machine.platform.split("-");
  const target = machine.others.length > 0 ? `--os=${os} --cpu=${cpu} ` : "";
  return [
    `Needed: ${SCOPE}/${machine.platform}${error === undefined ? "" : ", undamaged"}` +
      (os === "linux" ? ", and glibc 2.28 or later." : "."),
    `To mend it: npm install ${target}--include=optional torchclip` +
      (error === undefined ? "" : `, after rm -r node_modules/${SCOPE}/${machine.platform}`),
  ];
}
