// What the allow-list lets through and what it refuses.
#include "model/safety.h"
#include "check.h"
#include "runtime/error.h"

using namespace torchclip::core;

namespace {

int status(const std::string& body) {
  return torchclip::test::status_of<Error>([&] { check_source("test.py", "class M(Module):\n" + body); });
}

}  // namespace

int main() {
  CHECK(status("  def forward(self, x: Tensor) -> Tensor:\n    return torch.relu(torch.linear(x, self.w, None))\n") ==
        TORCHCLIP_OK);
  CHECK(status("  def forward(self, x: Tensor) -> Tensor:\n    return (getattr(self.blocks, \"0\")).forward(x, )\n") ==
        TORCHCLIP_OK);
  CHECK(status("  def forward(self, x: Tensor) -> Tensor:\n    return ops.prim.NumToTensor(torch.size(x, 0))\n") ==
        TORCHCLIP_OK);

  const char* unsafe[] = {
      "  def forward(self, x: Tensor) -> Tensor:\n    torch.save([x], \"f\")\n    return x\n",
      "  def forward(self, x: Tensor) -> Tensor:\n    return torch.from_file(\"/etc/passwd\", True, 10)\n",
      "  def forward(self, x: Tensor) -> Tensor:\n    return x.save(\"f\")\n",
      "  def forward(self, x: Tensor) -> Tensor:\n    return ops.aten.from_file(\"f\", False, 1)\n",
      "  def forward(self, x: Tensor) -> Tensor:\n    return ops.evil.run(x)\n",
      "  def forward(self, x: Tensor) -> Tensor:\n    return __torch__.torch.classes.evil.Run(x)\n",
      "  def forward(self, x: Tensor) -> Tensor:\n    print(x)\n    return x\n",
      "  def __setstate__(self, s: Tensor) -> NoneType:\n    return None\n",
      "  def __getstate__(self) -> Tensor:\n    return self.w\n",
      // A method of the archive's own does not make an operator of the same name harmless.
      "  def save(self, x: Tensor) -> Tensor:\n    return x\n  def forward(self, x: Tensor) -> Tensor:\n    return "
      "x.save(\"f\")\n",
  };
  for (const char* body : unsafe) CHECK(status(body) == TORCHCLIP_E_MODEL_UNSAFE);
  // A name may stand for a function of the archive, as Python writes it, and for nothing else that is called.
  const std::string head = "  def f(self: M, x: Tensor) -> Tensor:\n";
  CHECK(status("  def __len__(self: M) -> int:\n    return 2\n") == TORCHCLIP_OK);
  CHECK(status(head + "    _0 = __torch__.torch.nn.functional.silu\n    return _0(x, False, )\n") == TORCHCLIP_OK);
  for (const std::string body :
       {"    _0 = torch.from_file\n    return _0(\"/etc/passwd\", )\n",
        "    _0 = __torch__.torch.classes.evil.Reader\n    return _0(x, )\n",
        "    _0 = __torch__.a.b\n    _0 = torch.load\n    return _0(x, )\n",
        "    _0 = __torch__.a.b\n    for _0 in [torch.load]:\n      y = _0(x, )\n    return x\n",
        "    x = __torch__.a.b\n    return x(x, )\n", "    return _0(x, )\n"}) {
    CHECK(status(head + body) == TORCHCLIP_E_MODEL_UNSAFE);
  }
  CHECK(torchclip::test::status_of<Error>([] { check_source("t.py", "import os\n"); }) == TORCHCLIP_E_MODEL_UNSAFE);
  CHECK(torchclip::test::status_of<Error>([] { check_source("t.py", "class M(Module):\n  def f(self:\n"); }) ==
        TORCHCLIP_E_MODEL_CORRUPT);
  CHECK(torchclip::test::status_of<Error>([] { check_artifact("/nowhere.pt"); }) == TORCHCLIP_E_MODEL_CORRUPT);
  return torchclip::test::failures();
}
