/** What the benches use of @huggingface/transformers, which is not among the packages of this project. */
declare module "@huggingface/transformers" {
  export const env: { allowRemoteModels: boolean; localModelPath: string };

  export interface LoadOptions {
    dtype?: string;
    local_files_only?: boolean;
  }

  export interface Model {
    (inputs: object): Promise<object>;
    dispose(): Promise<unknown>;
  }

  export interface ModelClass {
    from_pretrained(name: string, options?: LoadOptions): Promise<Model>;
  }
  export const CLIPVisionModelWithProjection: ModelClass;
  export const CLIPTextModelWithProjection: ModelClass;
  export const AutoProcessor: {
    from_pretrained(name: string): Promise<(images: RawImage[]) => Promise<object>>;
  };

  export interface RawImage {
    width: number;
    height: number;
  }
  export const RawImage: {
    read(path: string): Promise<RawImage>;
    fromBlob(blob: Blob): Promise<RawImage>;
  };
}
