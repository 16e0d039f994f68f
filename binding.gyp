{
  # `node-gyp rebuild` drives the same CMake build as `npm run build`; nothing is listed twice.
  "targets": [
    {
      "target_name": "torchclip",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["<(module_root_dir)/CMakeLists.txt"],
          "outputs": ["<(module_root_dir)/build/Release/torchclip.node"],
          "action": ["node", "<(module_root_dir)/scripts/build.mjs"]
        }
      ]
    }
  ]
}
