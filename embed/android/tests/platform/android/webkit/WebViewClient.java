package android.webkit;

public class WebViewClient {
    public WebResourceResponse shouldInterceptRequest(WebView view, WebResourceRequest request) { throw new UnsupportedOperationException(); }
    public boolean shouldOverrideUrlLoading(WebView view, WebResourceRequest request) { throw new UnsupportedOperationException(); }
    public void onPageFinished(WebView view, String url) { throw new UnsupportedOperationException(); }
}
