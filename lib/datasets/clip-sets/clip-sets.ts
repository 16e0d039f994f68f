import type { DatasetEntry } from "../types.js";
import { cifar, stl10 } from "./cifar.js";
import { country211, eurosat, imagenet } from "./class-folders.js";
import { dtd, flowers102, food101, pets } from "./listed.js";
import { mnist } from "./mnist.js";

/** The data sets of the CLIP papers, each in its publisher's own files: downloaded, or unpacked at `root`. */
export const CLIP_SETS: readonly DatasetEntry[] = [
  {
    name: "cifar10",
    description: "CIFAR-10: 32 × 32 images, 10 classes",
    splits: "train 50000, test 10000",
    open: (o) => cifar("cifar10", o),
  },
  {
    name: "cifar100",
    description: "CIFAR-100: 32 × 32 images, 100 classes",
    splits: "train 50000, test 10000",
    open: (o) => cifar("cifar100", o),
  },
  {
    name: "mnist",
    description: "handwritten digits, 28 × 28",
    splits: "train 60000, test 10000",
    open: mnist,
  },
  {
    name: "stl10",
    description: "STL-10: 96 × 96 images, 10 classes",
    splits: "train 5000, test 8000",
    open: stl10,
  },
  { name: "food101", description: "Food-101: dishes", splits: "train 75750, test 25250", open: food101 },
  {
    name: "dtd",
    description: "Describable Textures, partition 1, 47 classes",
    splits: "train 1880, valid 1880, test 1880",
    open: dtd,
  },
  {
    name: "oxford-pets",
    description: "Oxford-IIIT Pet, 37 breeds",
    splits: "train 3680, test 3669",
    open: pets,
  },
  {
    name: "eurosat",
    description: "EuroSAT: satellite images of land use, 10 classes",
    splits: "27000 in all",
    open: eurosat,
  },
  {
    name: "flowers102",
    description: "Oxford Flowers, 102 classes",
    splits: "train 1020, valid 1020, test 6149",
    open: flowers102,
  },
  {
    name: "country211",
    description: "Country211 (OpenAI): where a photo was taken",
    splits: "train 31650, valid 10550, test 21100",
    open: country211,
  },
  {
    name: "imagenet",
    description: "ImageNet-1k in folders of WordNet ids, 80 templates; --root",
    splits: "valid 50000",
    open: imagenet,
  },
];
