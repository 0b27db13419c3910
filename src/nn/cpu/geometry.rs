//! The sizes of a convolution, and how many values its parts have.

/// The numbers of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Channels of the input and of the output.
    pub channels: (usize, usize),
    /// Into how many independent groups the channels fall.
    pub groups: usize,
    /// Rows and columns of a filter.
    pub kernel: usize,
    /// Steps between neighbouring outputs.
    pub stride: usize,
    /// Zeros beyond each edge.
    pub padding: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
}

impl Geometry {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Values of an output channel.
    pub fn out_space(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Values of one input sample.
    pub fn sample(&self) -> usize {
        self.channels.0 * self.height * self.width
    }

    /// Values of one output sample.
    pub fn out_sample(&self) -> usize {
        self.channels.1 * self.out_space()
    }

    /// Values of one filter.
    pub fn filter(&self) -> usize {
        self.channels.0 / self.groups * self.kernel * self.kernel
    }

    /// The filters (out, in / groups, K, K) as the gradient of the input needs them: (in, out / groups, K, K), each turned
    /// by half a turn.
    pub fn flipped(&self, filters: &[f32]) -> Vec<f32> {
        let (inputs, size) = (self.channels.0 / self.groups, self.kernel * self.kernel);
        let mut flipped = Vec::with_capacity(filters.len());
        for filters in filters.chunks_exact(self.group_outputs() * self.filter()) {
            for i in 0..inputs {
                for o in 0..self.group_outputs() {
                    flipped.extend(filters[(o * inputs + i) * size..][..size].iter().rev());
                }
            }
        }
        flipped
    }

    /// Output channels of a group.
    pub fn group_outputs(&self) -> usize {
        self.channels.1 / self.groups
    }
}
