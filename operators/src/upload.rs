//! `upload`: puts the crop that a decoding pass encoded into its store. No file names it: it ends the work of a
//! [`crop_upload`](crate::crop_upload) stage.

use clipsieve_engine::operator::{
    AsyncTransform, BuildContext, Call, Executor, Operator, OperatorError, OperatorSpec, Outcome,
    Planner, Ports, Signature, Value,
};
use futures::future::BoxFuture;

use crate::crop_upload::{CROP_UPLOAD, uploads};
use crate::kinds::{Decoded, FRAMES, VIDEO, Video};
use crate::uploads::Uploads;

/// The `upload` operator.
pub const UPLOAD: OperatorSpec = OperatorSpec {
    name: "upload",
    summary: "puts a crop that was encoded on the way into its store",
    doc: "The end of a `crop_upload` stage whose crop is encoded by the pass of a `decode` stage.",
    example: "",
    ports: Ports::Fixed(&[Signature {
        inputs: &[VIDEO, FRAMES],
        output: Some(VIDEO),
    }]),
    params: CROP_UPLOAD.params,
    executor: Executor::Io,
    concurrency: 0,
    check: None,
    demand: None,
    planner: Planner::NONE,
    build,
};

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let uploads = uploads(context)?
        .ok_or_else(|| OperatorError::internal("there is nowhere to upload to"))?;
    Ok(Operator::AsyncTransform(Box::new(Upload { uploads })))
}

struct Upload {
    uploads: Uploads,
}

impl AsyncTransform for Upload {
    fn apply<'a>(
        &'a self,
        call: &'a Call,
        inputs: &'a [Value],
    ) -> BoxFuture<'a, Result<Outcome, OperatorError>> {
        Box::pin(async move {
            let mut video = inputs[0].get::<Video>()?.clone();
            let decoded: &Decoded = inputs[1].get()?;
            if let (Some(order), Some(file), Some(crop)) =
                (video.order.take(), &decoded.crop, &mut video.crop)
            {
                let put = self.uploads.put(&call.item.row, &order.key, file);
                crop.url = Some(put.await?);
            }
            Ok(Outcome::value(video))
        })
    }
}
