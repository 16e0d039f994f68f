import type { DatasetEntry } from "../types.js";
import { clevr, kittiDistance } from "./annotated.js";
import { cifar, stl10 } from "./cifar.js";
import { caltech101, country211, eurosat, imagenet, resisc45, sun397 } from "./class-folders.js";
import { imagenetSketch, imagenetSubset, imagenetV2, objectnet } from "./imagenet-variants.js";
import { dtd, flowers102, food101, pets } from "./listed.js";
import { stanfordCars, svhn } from "./mat-sets.js";
import { mnist } from "./mnist.js";
import { pcam } from "./pcam.js";
import { fgvcAircraft, gtsrb } from "./traffic-and-aircraft.js";
import { voc2007, voc2007MultiLabel } from "./voc.js";

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
  {
    name: "imagenet-v2",
    description: "ImageNet-V2, matched frequency; --root",
    splits: "test 10000",
    open: imagenetV2,
  },
  {
    name: "imagenet-a",
    description: "ImageNet-A: photos that ResNet-50 gets wrong, 200 classes; --root",
    splits: "test 7500",
    open: (o) => imagenetSubset("imagenet-a", o),
  },
  {
    name: "imagenet-r",
    description: "ImageNet-R: drawings, sculptures, toys, 200 classes; --root",
    splits: "test 30000",
    open: (o) => imagenetSubset("imagenet-r", o),
  },
  {
    name: "imagenet-o",
    description: "ImageNet-O: images of none of ImageNet's classes, under the 200 that they resemble; --root",
    splits: "test 2000",
    open: (o) => imagenetSubset("imagenet-o", o),
  },
  {
    name: "imagenet-sketch",
    description: "ImageNet-Sketch: drawings, 1000 classes; --root",
    splits: "test 50889",
    open: imagenetSketch,
  },
  {
    name: "objectnet",
    description: "ObjectNet: household objects in unusual poses, the 113 classes of ImageNet; --root",
    splits: "test 18574",
    open: objectnet,
  },
  {
    name: "caltech101",
    description: "Caltech-101, with the background 102 classes; --root",
    splits: "9144 in all; test 6085 of VTAB's shards",
    open: caltech101,
  },
  {
    name: "sun397",
    description: "SUN397: indoor and outdoor scenes",
    splits: "108754 in all",
    open: sun397,
  },
  {
    name: "stanford-cars",
    description: "Stanford Cars, 196 models; --root",
    splits: "train 8144, test 8041",
    open: stanfordCars,
  },
  {
    name: "fgvc-aircraft",
    description: "FGVC Aircraft, 100 variants; --root",
    splits: "train 3334, valid 3333, test 3333",
    open: fgvcAircraft,
  },
  {
    name: "voc2007",
    description: "Pascal VOC 2007, its objects cut out, 20 classes; --root",
    splits: "test 14976",
    open: voc2007,
  },
  {
    name: "voc2007-multilabel",
    description: "Pascal VOC 2007, whole images that may have several of 20 classes; --root",
    splits: "test 4952",
    open: voc2007MultiLabel,
  },
  {
    name: "gtsrb",
    description: "German traffic signs, 43 classes; --root",
    splits: "train 26640, test 12630",
    open: gtsrb,
  },
  {
    name: "svhn",
    description: "SVHN: digits of house numbers, 32 × 32",
    splits: "train 73257, test 26032",
    open: svhn,
  },
  {
    name: "pcam",
    description: "PatchCamelyon: lymph nodes with and without a tumour; --root",
    splits: "train 262144, valid 32768, test 32768",
    open: pcam,
  },
  {
    name: "resisc45",
    description: "RESISC45: aerial images, 45 classes; --root",
    splits: "31500 in all; test 6300 of VTAB's shards",
    open: resisc45,
  },
  {
    name: "clevr-counts",
    description: "CLEVR: how many objects, 3 to 10; --root",
    splits: "train 70000, test 15000",
    open: (o) => clevr("clevr-counts", o),
  },
  {
    name: "clevr-distance",
    description: "CLEVR: how far the closest object is, 6 intervals; --root",
    splits: "train 70000, test 15000",
    open: (o) => clevr("clevr-distance", o),
  },
  {
    name: "kitti-distance",
    description: "KITTI: how far the closest vehicle is, 4 classes; --root",
    splits: "7481 in all; test 711 of VTAB's shards",
    open: kittiDistance,
  },
];
