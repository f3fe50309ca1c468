package androidx.webkit;

public class WebViewAssetLoader {
    public android.webkit.WebResourceResponse shouldInterceptRequest(android.net.Uri url) { throw new UnsupportedOperationException(); }
    public interface PathHandler {}
    public static final class AssetsPathHandler implements PathHandler { public AssetsPathHandler(android.content.Context context) {} }
    public static final class InternalStoragePathHandler implements PathHandler { public InternalStoragePathHandler(android.content.Context context, java.io.File directory) {} }
    public static final class Builder { public Builder addPathHandler(String path, PathHandler handler) { return this; } public WebViewAssetLoader build() { return new WebViewAssetLoader(); } }
}
