// The losses of training: images against class embeddings, and images against their texts.
#pragma once

#include <cstdint>

#include "libtorch.h"

namespace torchclip::libtorch {

// Rows divided by their L2 norms, as CLIP does before it compares them.
at::Tensor unit_rows(const at::Tensor& rows);

// float [images, texts]: exp(logit_scale) times the cosines, plus logit_bias where it is defined. Both sides have rows
// of length 1; logit_scale and logit_bias are scalars.
at::Tensor logits_of(const at::Tensor& images, const at::Tensor& texts, const at::Tensor& logit_scale,
                     const at::Tensor& logit_bias);

// Cross-entropy of each image over the classes, the mean over the images. labels: int64 [images].
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels);

// CLIP's loss of pairs (Radford et al. 2021): the mean of the cross-entropies of each image over all texts and of each
// text over all images; text i belongs to image i. logits: float [n, n].
at::Tensor softmax_pairs_loss(const at::Tensor& logits);

// SigLIP's loss of pairs (Zhai et al. 2023, arXiv:2303.15343): each pair is a binary decision; the sum over all pairs
// divided by the number of images.
at::Tensor sigmoid_pairs_loss(const at::Tensor& logits);

}  // namespace torchclip::libtorch
