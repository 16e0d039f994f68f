import { HUB, OPENAI } from "../../settings.js";
import type { Archive } from "./archive.js";

export const ARCHIVES = {
  cifar10: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
    probe: "cifar-10-batches-bin",
  },
  cifar100: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    md5: "03b5dce01913d631647c71ecec9e9cb8",
    probe: "cifar-100-binary",
  },
  stl10: {
    url: "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    md5: "91f7769df0f17e558f3565bffb0c7dfb",
    probe: "stl10_binary",
  },
  food101: {
    url: "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
    md5: "85eeb15f3717b99a5da872d97d918f87",
    probe: "food-101",
  },
  dtd: {
    url: "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    md5: "fff73e5086ae6bdbea199a49dfb8a4c1",
    probe: "dtd",
  },
  country211: {
    url: `${OPENAI}/clip/data/country211.tgz`,
    md5: "84988d7644798601126c29e9877aab6a",
    probe: "country211",
  },
  sun397: {
    url: "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
    md5: "8ca2778205c41d23104230ba66911c7a",
    probe: "SUN397",
  },
  // torchgeo's copy: the first address (madm.dfki.de) is gone.
  eurosat: {
    url: `${HUB}/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip`,
    md5: "c8fa014336c82ac7804f0398fcb19387",
    probe: "2750",
    kind: "zip",
  },
} satisfies Record<string, Archive>;

const FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/";

export const FLOWERS_IMAGES: Archive = {
  url: `${FLOWERS}102flowers.tgz`,
  md5: "52808999861908f626f3c1f4e79d11fa",
  probe: "jpg",
};

export const FLOWERS_LABELS: Archive = {
  url: `${FLOWERS}imagelabels.mat`,
  md5: "e0620be6f572b9609742df49c70aed4d",
  probe: "imagelabels.mat",
  kind: "file",
};

export const FLOWERS_SPLITS: Archive = {
  url: `${FLOWERS}setid.mat`,
  md5: "a5357ecc9cb78c4bef273ce3793fc85c",
  probe: "setid.mat",
  kind: "file",
};

const PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/";

export const PETS_IMAGES: Archive = {
  url: `${PETS}images.tar.gz`,
  md5: "5c4f3ee8e5d25df40f4fd59a7f44e54c",
  probe: "images",
};

export const PETS_ANNOTATIONS: Archive = {
  url: `${PETS}annotations.tar.gz`,
  md5: "95a8c909bbe2e81eed6a22bccdf3f68f",
  probe: "annotations",
};

export const MNIST_BASE = "https://ossci-datasets.s3.amazonaws.com/mnist/";

export const MNIST_FILES = {
  "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
  "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
  "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
  "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
};

const SVHN = "http://ufldl.stanford.edu/housenumbers/";

export const SVHN_FILES = {
  train: { url: `${SVHN}train_32x32.mat`, md5: "e26dedcc434d2e4c54c9b2d4a06d8373", probe: "train_32x32.mat" },
  test: { url: `${SVHN}test_32x32.mat`, md5: "eb5a983be6a315427106f1b164d9cef3", probe: "test_32x32.mat" },
};
